//! The classes of a dataset, and what their change does to its images.

use sqlx::{SqliteConnection, types::Json};

use super::Result;
use crate::domain::{DatasetId, dataset::Classes};

/// Replaces the classes of a dataset: its images of class `i` become those of class `targets[i]`,
/// and are removed if it has no target.
///
/// The only place where classes change. It must be in one transaction with whatever the new classes
/// were computed from.
///
/// # Errors
/// The database failed.
pub async fn replace(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    classes: &Classes,
    targets: &[Option<usize>],
) -> Result<()> {
    let (classes, moves) = (Json(classes), Json(targets));
    sqlx::query!(
        "UPDATE datasets
         SET classes = ?, version = NULL, named_version = 1, revision = revision + 1
         WHERE id = ?",
        classes,
        dataset
    )
    .execute(&mut *connection)
    .await?;
    if targets.contains(&None) {
        sqlx::query!(
            "DELETE FROM images WHERE dataset_id = ?1 AND label < json_array_length(?2)
             AND ?2 ->> ('$[' || label || ']') IS NULL",
            dataset,
            moves
        )
        .execute(&mut *connection)
        .await?;
    }
    if targets.iter().enumerate().any(|(from, to)| to.is_some_and(|to| to != from)) {
        // One statement: no image is moved twice.
        sqlx::query!(
            "UPDATE images SET label = ?2 ->> ('$[' || label || ']')
             WHERE dataset_id = ?1 AND label < json_array_length(?2)
             AND label <> ?2 ->> ('$[' || label || ']')",
            dataset,
            moves
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}
