//! Queries over all images of a dataset.

use std::collections::BTreeMap;

use sqlx::{SqliteConnection, types::Json};

use super::Result;
use crate::domain::{DatasetId, ImageId, dataset::Split};

/// A width or height in pixels, and the number of images with it.
pub type Sizes = Vec<(u32, u64)>;

/// Image counts of a dataset by width and by height, in ascending order.
///
/// # Errors
/// The database failed.
pub async fn sizes(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
) -> Result<(Sizes, Sizes)> {
    let widths = sqlx::query!(
        r#"SELECT width AS "pixels: u32", COUNT(*) AS "images!: u32"
           FROM images WHERE dataset_id = ? GROUP BY width ORDER BY width"#,
        dataset
    )
    .fetch_all(&mut *connection)
    .await?;
    let heights = sqlx::query!(
        r#"SELECT height AS "pixels: u32", COUNT(*) AS "images!: u32"
           FROM images WHERE dataset_id = ? GROUP BY height ORDER BY height"#,
        dataset
    )
    .fetch_all(connection)
    .await?;
    Ok((
        widths.into_iter().map(|row| (row.pixels, u64::from(row.images))).collect(),
        heights.into_iter().map(|row| (row.pixels, u64::from(row.images))).collect(),
    ))
}

/// Image counts of a dataset by media type.
///
/// # Errors
/// The database failed.
pub async fn formats(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
) -> Result<BTreeMap<String, u64>> {
    let rows = sqlx::query!(
        r#"SELECT media_type, COUNT(*) AS "images!: u32"
           FROM images WHERE dataset_id = ? GROUP BY media_type"#,
        dataset
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.media_type, u64::from(row.images))).collect())
}

/// Fingerprints of a dataset that images of more than one split share.
///
/// # Errors
/// The database failed.
pub async fn shared_fingerprints(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
) -> Result<Vec<u64>> {
    let rows = sqlx::query_scalar!(
        r#"SELECT fingerprint AS "fingerprint!: i64" FROM images WHERE dataset_id = ?
           GROUP BY fingerprint HAVING COUNT(DISTINCT split) > 1 ORDER BY MIN(id)"#,
        dataset
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(i64::cast_unsigned).collect())
}

/// An image that shares its fingerprint with another.
#[derive(Debug, Clone)]
pub struct NearDuplicate {
    /// The fingerprint.
    pub fingerprint: u64,
    /// The image.
    pub id: ImageId,
    /// Original file name.
    pub file_name: String,
    /// Index of its class.
    pub label: usize,
    /// Its split.
    pub split: Split,
}

/// Images of a dataset that have one of those fingerprints: of each, the first few of each split.
///
/// # Errors
/// The database failed.
pub async fn near_duplicates(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    fingerprints: &[u64],
) -> Result<Vec<NearDuplicate>> {
    let wanted = Json(fingerprints.iter().map(|bits| bits.cast_signed()).collect::<Vec<i64>>());
    let rows = sqlx::query!(
        r#"SELECT id AS "id: ImageId", fingerprint AS "fingerprint: i64", file_name,
                  label AS "label: u32", split AS "split: Split"
           FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY fingerprint, split ORDER BY id) AS place
                 FROM images
                 WHERE dataset_id = ? AND fingerprint IN (SELECT value FROM json_each(?)))
           WHERE place <= 10 ORDER BY id"#,
        dataset,
        wanted
    )
    .fetch_all(connection)
    .await?;
    let twin = rows.into_iter().map(|row| NearDuplicate {
        fingerprint: row.fingerprint.cast_unsigned(),
        id: row.id,
        file_name: row.file_name,
        label: row.label as usize,
        split: row.split,
    });
    Ok(twin.collect())
}
