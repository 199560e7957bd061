//! What models predict for the test images of jobs.

use sqlx::{SqliteConnection, types::Json};

use super::Result;
use crate::domain::{JobId, ModelId, comparison::TestPrediction};

/// Saves the predictions of a model for the test images of a job, in the order of its manifest; `None`
/// for an image that is no longer stored.
///
/// # Errors
/// The job or the model has been deleted, or the database failed.
pub async fn put(
    connection: &mut SqliteConnection,
    job: JobId,
    model: ModelId,
    predictions: &[Option<TestPrediction>],
) -> Result<()> {
    let predictions = Json(predictions);
    sqlx::query!(
        "INSERT OR REPLACE INTO test_predictions (job_id, model_id, predictions) VALUES (?, ?, ?)",
        job,
        model,
        predictions
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The predictions of a model for the test images of a job, if they are saved.
///
/// # Errors
/// The database failed.
pub async fn get(
    connection: &mut SqliteConnection,
    job: JobId,
    model: ModelId,
) -> Result<Option<Vec<Option<TestPrediction>>>> {
    let row = sqlx::query_scalar!(
        r#"SELECT predictions AS "predictions: Json<Vec<Option<TestPrediction>>>"
           FROM test_predictions WHERE job_id = ? AND model_id = ?"#,
        job,
        model
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|Json(predictions)| predictions))
}
