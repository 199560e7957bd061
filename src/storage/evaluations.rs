//! Evaluations of jobs, and the file names of the images in them.

use std::collections::HashMap;

use sqlx::{SqliteConnection, types::Json};

use super::Result;
use crate::domain::{ImageId, JobId, evaluation::Evaluation};

/// Saves the test evaluation of a job's best epoch.
///
/// # Errors
/// The database failed.
pub async fn put(
    connection: &mut SqliteConnection,
    job: JobId,
    evaluation: &Evaluation,
) -> Result<()> {
    let evaluation = Json(evaluation);
    sqlx::query!(
        "INSERT OR REPLACE INTO evaluations (job_id, evaluation) VALUES (?, ?)",
        job,
        evaluation
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The evaluation of a job, if it has been evaluated.
///
/// # Errors
/// The database failed.
pub async fn get(connection: &mut SqliteConnection, job: JobId) -> Result<Option<Evaluation>> {
    let row = sqlx::query_scalar!(
        r#"SELECT evaluation AS "evaluation: Json<Evaluation>" FROM evaluations WHERE job_id = ?"#,
        job
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|Json(evaluation)| evaluation))
}

/// The file names of those of `images` that still exist.
///
/// # Errors
/// The database failed.
pub async fn file_names(
    connection: &mut SqliteConnection,
    images: &[ImageId],
) -> Result<HashMap<ImageId, String>> {
    let images = Json(images);
    let rows = sqlx::query!(
        r#"SELECT id AS "id: ImageId", file_name FROM images
           WHERE id IN (SELECT value FROM json_each(?))"#,
        images
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.file_name)).collect())
}
