//! What reviews read of datasets, and what people decided.

use std::collections::HashMap;

use sqlx::{SqliteConnection, types::Json};

use super::{Result, types::Time};
use crate::domain::{
    ClassName, DatasetId, ImageId, Timestamp,
    dataset::{Digest, Split},
    review::{Decision, List, Photo},
};

/// The revision of every dataset.
///
/// # Errors
/// The database failed.
pub async fn revisions(connection: &mut SqliteConnection) -> Result<Vec<(DatasetId, i64)>> {
    let rows = sqlx::query!(r#"SELECT id AS "id: DatasetId", revision FROM datasets ORDER BY id"#)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.revision)).collect())
}

/// All images of a dataset, with and without a label, in the order of their hashes.
///
/// # Errors
/// The database failed.
pub async fn photos(connection: &mut SqliteConnection, dataset: DatasetId) -> Result<Vec<Photo>> {
    let labelled = sqlx::query!(
        r#"SELECT id AS "image_id: ImageId", sha256 AS "sha256: Digest", label AS "label: u32",
                  split AS "split: Split", MIN(width, height) AS "side!: u32"
           FROM images WHERE dataset_id = ? ORDER BY sha256"#,
        dataset
    )
    .fetch_all(&mut *connection)
    .await?;
    let unlabelled = sqlx::query!(
        r#"SELECT id AS "image_id: ImageId", sha256 AS "sha256: Digest",
                  MIN(width, height) AS "side!: u32"
           FROM unlabelled_images WHERE dataset_id = ? ORDER BY sha256"#,
        dataset
    )
    .fetch_all(connection)
    .await?;
    let labelled = labelled.into_iter().map(|row| Photo {
        image_id: row.image_id,
        sha256: row.sha256,
        label: Some(row.label as usize),
        split: Some(row.split),
        shorter_side: row.side,
    });
    let unlabelled = unlabelled.into_iter().map(|row| Photo {
        image_id: row.image_id,
        sha256: row.sha256,
        label: None,
        split: None,
        shorter_side: row.side,
    });
    let mut photos: Vec<Photo> = labelled.chain(unlabelled).collect();
    photos.sort_by_key(|photo| photo.sha256);
    Ok(photos)
}

/// The class and the split of an image when a person decided on it; none if it was unlabelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedImage {
    /// Its class.
    pub label: Option<ClassName>,
    /// Its split.
    pub split: Option<Split>,
}

/// Remembers a decision on an image of a dataset as it is now, or forgets an earlier one.
///
/// # Errors
/// The database failed.
pub async fn decide(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    list: List,
    sha256: &Digest,
    now: &DecidedImage,
    decision: Decision,
) -> Result<()> {
    let list = list.as_str();
    let decision = match decision {
        Decision::Confirmed => "confirmed",
        Decision::Dismissed => "dismissed",
        Decision::Undecided => {
            sqlx::query!(
                "DELETE FROM review_decisions WHERE dataset_id = ? AND sha256 = ? AND list = ?",
                dataset,
                sha256,
                list
            )
            .execute(connection)
            .await?;
            return Ok(());
        }
    };
    let created_at = Time(Timestamp::now());
    sqlx::query!(
        "INSERT INTO review_decisions (dataset_id, sha256, list, label, split, decision, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (dataset_id, sha256, list) DO UPDATE
         SET label = excluded.label, split = excluded.split, decision = excluded.decision,
             created_at = excluded.created_at",
        dataset,
        sha256,
        list,
        now.label,
        now.split,
        decision,
        created_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Those of the images that were decided on in a list, as they were then.
///
/// # Errors
/// The database failed.
pub async fn decided(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    list: List,
    images: &[Digest],
) -> Result<HashMap<Digest, DecidedImage>> {
    let (list, images) = (list.as_str(), Json(images));
    let rows = sqlx::query!(
        r#"SELECT sha256 AS "sha256: Digest", label AS "label: ClassName", split AS "split: Split"
           FROM review_decisions
           WHERE dataset_id = ? AND list = ? AND sha256 IN (SELECT value FROM json_each(?))"#,
        dataset,
        list,
        images
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.sha256, DecidedImage { label: row.label, split: row.split }))
        .collect())
}

/// Makes decisions on images with the label `from` count for those with the label `to`.
///
/// # Errors
/// The database failed.
pub async fn rename_label(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    from: &ClassName,
    to: &ClassName,
) -> Result<()> {
    sqlx::query!(
        "UPDATE review_decisions SET label = ? WHERE dataset_id = ? AND label = ?",
        to,
        dataset,
        from
    )
    .execute(connection)
    .await?;
    Ok(())
}
