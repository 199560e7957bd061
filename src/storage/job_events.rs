//! Reports of trainers: progress, epochs, and the events that a watcher must not miss.

use serde::Serialize;
use sqlx::{SqliteConnection, types::Json};

use super::{Result, jobs};
use crate::domain::{
    JobId, ModelId,
    job::{BestEpoch, Job, Progress},
    metrics::{EpochMetrics, SplitMetrics},
    recipe::Precision,
    service::Service,
};

/// A stored event of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number: later events have higher ones.
    pub id: i64,
    /// `status`, `epoch`, `evaluation` or `service`.
    pub kind: String,
    /// Its JSON.
    pub data: String,
}

/// Records that a trainer has started. Epochs after `completed_epochs` are deleted: the checkpoint
/// it resumes from is older, and they will be repeated.
///
/// # Errors
/// The database failed.
pub async fn started(
    connection: &mut SqliteConnection,
    id: JobId,
    device: &str,
    precision: Precision,
    completed_epochs: u32,
) -> Result<()> {
    let precision = Json(precision);
    sqlx::query!("UPDATE jobs SET device = ?, precision = ? WHERE id = ?", device, precision, id)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("DELETE FROM epochs WHERE job_id = ? AND epoch > ?", id, completed_epochs)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "DELETE FROM job_events WHERE job_id = ? AND (epoch > ? OR kind = 'evaluation')",
        id,
        completed_epochs
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE jobs SET best_epoch = NULL, best_val_loss = NULL, best_val_accuracy = NULL
         WHERE id = ? AND best_epoch > ?",
        id,
        completed_epochs
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Saves the progress of a job.
///
/// # Errors
/// The database failed.
pub async fn progress(
    connection: &mut SqliteConnection,
    id: JobId,
    progress: Progress,
) -> Result<()> {
    let progress = Json(progress);
    sqlx::query!("UPDATE jobs SET progress = ? WHERE id = ?", progress, id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Saves a completed epoch, once: the same epoch again replaces it.
///
/// # Errors
/// The database failed.
pub async fn epoch(
    connection: &mut SqliteConnection,
    id: JobId,
    metrics: &EpochMetrics,
    best: bool,
) -> Result<()> {
    let known = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM epochs WHERE job_id = ? AND epoch = ?) AS "known!: bool""#,
        id,
        metrics.epoch
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT OR REPLACE INTO epochs (job_id, epoch, train_loss, train_accuracy, val_loss, val_accuracy,
                                        learning_rate, seconds, images_per_second)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        id,
        metrics.epoch,
        metrics.train_loss,
        metrics.train_accuracy,
        metrics.val_loss,
        metrics.val_accuracy,
        metrics.learning_rate,
        metrics.seconds,
        metrics.images_per_second,
    )
    .execute(&mut *connection)
    .await?;
    if best {
        let EpochMetrics { epoch, val_loss, val_accuracy, .. } = *metrics;
        set_best(connection, id, BestEpoch { epoch, val_loss, val_accuracy }).await?;
    }
    if known {
        return Ok(());
    }
    append(connection, id, "epoch", Some(metrics.epoch), metrics).await
}

/// Saves the best epoch so far.
///
/// # Errors
/// The database failed.
pub async fn set_best(connection: &mut SqliteConnection, id: JobId, best: BestEpoch) -> Result<()> {
    sqlx::query!(
        "UPDATE jobs SET best_epoch = ?, best_val_loss = ?, best_val_accuracy = ? WHERE id = ?",
        best.epoch,
        best.val_loss,
        best.val_accuracy,
        id,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Saves the metrics of the test split.
///
/// # Errors
/// The database failed.
pub async fn evaluation(
    connection: &mut SqliteConnection,
    id: JobId,
    score: &SplitMetrics,
) -> Result<()> {
    append(connection, id, "evaluation", None, score).await
}

/// Saves the current status of a job as an event.
///
/// # Errors
/// The database failed.
pub async fn status(connection: &mut SqliteConnection, job: &Job) -> Result<()> {
    append(connection, job.id, "status", None, job).await
}

/// Saves the status of the job of that id, as it is now, as an event.
///
/// # Errors
/// The database failed.
pub async fn current_status(connection: &mut SqliteConnection, id: JobId) -> Result<()> {
    match jobs::get(connection, id).await? {
        Some(job) => status(connection, &job).await,
        None => Ok(()),
    }
}

/// Saves the model of a job, and the decision on it.
///
/// # Errors
/// The database failed.
pub async fn model(
    connection: &mut SqliteConnection,
    id: JobId,
    model: ModelId,
    service: &Service,
) -> Result<()> {
    let json = Json(service);
    sqlx::query!("UPDATE jobs SET model_id = ?, service = ? WHERE id = ?", model, json, id)
        .execute(&mut *connection)
        .await?;
    append(connection, id, "service", None, service).await
}

async fn append(
    connection: &mut SqliteConnection,
    id: JobId,
    kind: &str,
    epoch: Option<u32>,
    data: &(impl Serialize + Sync),
) -> Result<()> {
    let data = serde_json::to_string(data).map_err(|error| {
        super::Error::Damaged(format!("an event that can't be written: {error}"))
    })?;
    sqlx::query!(
        "INSERT INTO job_events (job_id, kind, epoch, data) VALUES (?, ?, ?, ?)",
        id,
        kind,
        epoch,
        data
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The events of a job after the one with that number, oldest first.
///
/// # Errors
/// The database failed.
pub async fn after(
    connection: &mut SqliteConnection,
    id: JobId,
    last: i64,
) -> Result<Vec<StoredEvent>> {
    Ok(sqlx::query_as!(
        StoredEvent,
        "SELECT id, kind, data FROM job_events WHERE job_id = ? AND id > ? ORDER BY id LIMIT 1000",
        id,
        last
    )
    .fetch_all(connection)
    .await?)
}

/// The completed epochs of a job, in order.
///
/// # Errors
/// The database failed.
pub async fn epochs(connection: &mut SqliteConnection, id: JobId) -> Result<Vec<EpochMetrics>> {
    Ok(sqlx::query_as!(
        EpochMetrics,
        r#"SELECT epoch AS "epoch: u32", train_loss, train_accuracy, val_loss, val_accuracy,
                  learning_rate, seconds, images_per_second
           FROM epochs WHERE job_id = ? ORDER BY epoch"#,
        id
    )
    .fetch_all(connection)
    .await?)
}
