//! Pages of the images of a dataset, and single ones by their place: none looks at rows that it does not return,
//! so that they take as long in a dataset of any size.

use sqlx::SqliteConnection;

use super::{Page, Result, images::of_ids};
use crate::domain::{
    DatasetId, ImageId,
    dataset::{Digest, Image, Split},
};

/// Images of a dataset, oldest first, optionally of one split or class.
///
/// # Errors
/// The database failed.
pub async fn page(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    split: Option<Split>,
    label: Option<usize>,
    after: Option<ImageId>,
    limit: u32,
) -> Result<Page<Image>> {
    let ids = ids(connection, dataset, split, label, after, limit + 1).await?;
    let page = Page::new(ids, limit, ImageId::to_string);
    Ok(Page { items: of_ids(connection, &page.items).await?, next_cursor: page.next_cursor })
}

/// The ids of the first `limit` images of a page. One query for each of the indexes, in which they are side
/// by side.
async fn ids(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    split: Option<Split>,
    label: Option<usize>,
    after: Option<ImageId>,
    limit: u32,
) -> Result<Vec<ImageId>> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let label = label.map(|label| i64::try_from(label).unwrap_or(i64::MAX));
    let ids = match (split, label) {
        (None, None) => {
            let query = sqlx::query_scalar!(
                r#"SELECT id AS "id: ImageId" FROM images
                   WHERE dataset_id = ? AND id > ? ORDER BY id LIMIT ?"#,
                dataset,
                after,
                limit
            );
            query.fetch_all(connection).await?
        }
        (Some(split), None) => {
            let query = sqlx::query_scalar!(
                r#"SELECT id AS "id: ImageId" FROM images
                   WHERE dataset_id = ? AND split = ? AND id > ? ORDER BY id LIMIT ?"#,
                dataset,
                split,
                after,
                limit
            );
            query.fetch_all(connection).await?
        }
        (None, Some(label)) => {
            let query = sqlx::query_scalar!(
                r#"SELECT id AS "id: ImageId" FROM images
                   WHERE dataset_id = ? AND label = ? AND id > ? ORDER BY id LIMIT ?"#,
                dataset,
                label,
                after,
                limit
            );
            query.fetch_all(connection).await?
        }
        (Some(split), Some(label)) => {
            let query = sqlx::query_scalar!(
                r#"SELECT id AS "id: ImageId" FROM images
                   WHERE dataset_id = ? AND split = ? AND label = ? AND id > ? ORDER BY id LIMIT ?"#,
                dataset,
                split,
                label,
                after,
                limit
            );
            query.fetch_all(connection).await?
        }
    };
    Ok(ids)
}

/// The hash of the training image of a dataset in that place by the hashes, counted from 0 and, after the
/// last one, from the first again; `None` if it has no training images.
///
/// # Errors
/// The database failed.
pub async fn training_image(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    place: u64,
) -> Result<Option<Digest>> {
    let first = nth_training_image(&mut *connection, dataset, place).await?;
    if first.is_some() {
        return Ok(first);
    }
    let images = sqlx::query_scalar!(
        "SELECT COUNT(*) FROM images WHERE dataset_id = ? AND split = 'train'",
        dataset
    )
    .fetch_one(&mut *connection)
    .await?;
    nth_training_image(connection, dataset, place % images.cast_unsigned().max(1)).await
}

async fn nth_training_image(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    place: u64,
) -> Result<Option<Digest>> {
    let place = i64::try_from(place).unwrap_or(i64::MAX);
    // The sign keeps SQLite from sorting all training images.
    Ok(sqlx::query_scalar!(
        r#"SELECT sha256 AS "sha256: Digest" FROM images
           WHERE dataset_id = ? AND +split = 'train' ORDER BY sha256 LIMIT 1 OFFSET ?"#,
        dataset,
        place
    )
    .fetch_optional(connection)
    .await?)
}
