//! Rows of images without a label.

use sqlx::SqliteConnection;

use super::{Result, images::NewImage, types::Time};
use crate::domain::{
    DatasetId, ImageId, Timestamp,
    dataset::{Digest, Split},
    review::UnlabelledImage,
};

/// Adds an image, unless it is already in the dataset, with or without a label; returns whether it
/// was added.
///
/// # Errors
/// The database failed.
pub async fn insert(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    image: &NewImage,
) -> Result<bool> {
    let (id, created_at) = (ImageId::new(), Time(Timestamp::now()));
    let bytes = i64::try_from(image.bytes).unwrap_or(i64::MAX);
    let fingerprint = image.fingerprint.cast_signed();
    let done = sqlx::query!(
        "INSERT INTO unlabelled_images (id, dataset_id, sha256, file_name, media_type, width, height,
                                        bytes, fingerprint, created_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
         WHERE NOT EXISTS (SELECT 1 FROM images WHERE dataset_id = ?2 AND sha256 = ?3)
         ON CONFLICT (dataset_id, sha256) DO NOTHING",
        id,
        dataset,
        image.sha256,
        image.file_name,
        image.media_type,
        image.width,
        image.height,
        bytes,
        fingerprint,
        created_at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Those of the images that still have no label, oldest first.
///
/// # Errors
/// The database failed.
pub async fn of_ids(
    connection: &mut SqliteConnection,
    ids: &[ImageId],
) -> Result<Vec<UnlabelledImage>> {
    let ids = sqlx::types::Json(ids);
    let rows = sqlx::query!(
        r#"SELECT id AS "id: ImageId", dataset_id AS "dataset_id: DatasetId", file_name, media_type,
                  width AS "width: u32", height AS "height: u32", bytes, sha256 AS "sha256: Digest",
                  created_at AS "created_at: Time"
           FROM unlabelled_images WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    let image = rows.into_iter().map(|row| UnlabelledImage {
        id: row.id,
        dataset_id: row.dataset_id,
        file_name: row.file_name,
        media_type: row.media_type,
        width: row.width,
        height: row.height,
        bytes: u64::try_from(row.bytes).unwrap_or(0),
        sha256: row.sha256,
        created_at: row.created_at.0,
    });
    Ok(image.collect())
}

/// Number of images of a dataset without a label.
///
/// # Errors
/// The database failed.
pub async fn count(connection: &mut SqliteConnection, dataset: DatasetId) -> Result<u64> {
    let images =
        sqlx::query_scalar!("SELECT COUNT(*) FROM unlabelled_images WHERE dataset_id = ?", dataset)
            .fetch_one(connection)
            .await?;
    Ok(u64::try_from(images).unwrap_or(0))
}

/// Gives an image a label and a split; returns whether there was one without a label.
///
/// # Errors
/// The database failed.
pub async fn label(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    id: ImageId,
    label: usize,
    split: Split,
) -> Result<bool> {
    let label = i64::try_from(label).unwrap_or(i64::MAX);
    let done = sqlx::query!(
        "INSERT INTO images (id, dataset_id, sha256, file_name, label, split, media_type,
                             width, height, bytes, fingerprint, created_at)
         SELECT id, dataset_id, sha256, file_name, ?, ?, media_type,
                width, height, bytes, fingerprint, created_at
         FROM unlabelled_images WHERE dataset_id = ? AND id = ?",
        label,
        split,
        dataset,
        id
    )
    .execute(&mut *connection)
    .await?;
    delete(connection, dataset, id).await?;
    Ok(done.rows_affected() == 1)
}

/// Removes an image without a label; returns whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    id: ImageId,
) -> Result<bool> {
    let done =
        sqlx::query!("DELETE FROM unlabelled_images WHERE dataset_id = ? AND id = ?", dataset, id)
            .execute(connection)
            .await?;
    Ok(done.rows_affected() == 1)
}
