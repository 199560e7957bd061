//! Jobs: rows, and the transitions between their states.

use sqlx::{SqliteConnection, types::Json};

use super::{Result, attempts, name_taken, types::Time};
use crate::domain::{
    DatasetId, JobId, ModelId, Name, Timestamp,
    dataset::Digest,
    job::{BestEpoch, ControlRequest, Job, JobError, JobStatus, Progress},
    parameters::Params,
    recipe::{Precision, Recipe},
    service::Service,
};

/// A job to be queued.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Its unique name.
    pub name: Name,
    /// Training recipe.
    pub recipe: Recipe,
    /// The dataset to train on.
    pub dataset_id: DatasetId,
    /// That dataset's name.
    pub dataset: Name,
    /// The version of the snapshot.
    pub dataset_version: Digest,
    /// Training parameters.
    pub params: Params,
}

/// Queues a job.
///
/// # Errors
/// Its name is taken.
pub async fn insert(connection: &mut SqliteConnection, job: &NewJob) -> Result<()> {
    let params = Json(&job.params);
    let now = Time(Timestamp::now());
    sqlx::query!(
        "INSERT INTO jobs (id, name, recipe, dataset_id, dataset, dataset_version, params, status, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
        job.id,
        job.name,
        job.recipe,
        job.dataset_id,
        job.dataset,
        job.dataset_version,
        params,
        now,
    )
    .execute(connection)
    .await
    .map_err(|error| name_taken(error, &job.name))?;
    Ok(())
}

struct Row {
    id: JobId,
    name: Name,
    recipe: Recipe,
    dataset: Name,
    dataset_version: Digest,
    params: Json<Params>,
    status: JobStatus,
    progress: Option<Json<Progress>>,
    best_epoch: Option<u32>,
    best_val_loss: Option<f64>,
    best_val_accuracy: Option<f64>,
    device: Option<String>,
    precision: Option<Json<Precision>>,
    attempts: u32,
    error_code: Option<String>,
    error_detail: Option<String>,
    model_id: Option<ModelId>,
    service: Option<Json<Service>>,
    created_at: Time,
    started_at: Option<Time>,
    finished_at: Option<Time>,
}

impl From<Row> for Job {
    fn from(row: Row) -> Self {
        let best = (row.best_epoch, row.best_val_loss, row.best_val_accuracy);
        Self {
            id: row.id,
            name: row.name,
            recipe: row.recipe,
            dataset: row.dataset,
            dataset_version: row.dataset_version,
            params: row.params.0,
            status: row.status,
            progress: row.progress.map(|Json(progress)| progress),
            best: match best {
                (Some(epoch), Some(val_loss), Some(val_accuracy)) => {
                    Some(BestEpoch { epoch, val_loss, val_accuracy })
                }
                _ => None,
            },
            device: row.device,
            precision: row.precision.map(|Json(precision)| precision),
            placement: None,
            attempts: row.attempts,
            error: row
                .error_code
                .map(|code| JobError { code, detail: row.error_detail.unwrap_or_default() }),
            model_id: row.model_id,
            service: row.service.map(|Json(service)| service),
            created_at: row.created_at.0,
            started_at: row.started_at.map(|time| time.0),
            finished_at: row.finished_at.map(|time| time.0),
        }
    }
}

/// Those of the jobs that still exist, newest first.
///
/// # Errors
/// The database failed.
pub async fn of_ids(connection: &mut SqliteConnection, ids: &[JobId]) -> Result<Vec<Job>> {
    let list = Json(ids);
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: JobId", name AS "name: Name", recipe AS "recipe: Recipe",
                  dataset AS "dataset: Name", dataset_version AS "dataset_version: Digest",
                  params AS "params: Json<Params>", status AS "status: JobStatus",
                  progress AS "progress: Json<Progress>", best_epoch AS "best_epoch: u32",
                  best_val_loss, best_val_accuracy, device,
                  precision AS "precision: Json<Precision>", attempts AS "attempts: u32",
                  error_code, error_detail, model_id AS "model_id: ModelId",
                  service AS "service: Json<Service>",
                  created_at AS "created_at: Time", started_at AS "started_at: Time",
                  finished_at AS "finished_at: Time"
           FROM jobs
           WHERE id IN (SELECT value FROM json_each(?))
           ORDER BY id DESC"#,
        list
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut placements = attempts::placements(connection, ids).await?;
    let job = |row: Row| Job { placement: placements.remove(&row.id), ..Job::from(row) };
    Ok(rows.into_iter().map(job).collect())
}

/// The job of that name or id.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut SqliteConnection, reference: &str) -> Result<Option<Job>> {
    let id = sqlx::query_scalar!(
        r#"SELECT id AS "id: JobId" FROM jobs WHERE id = ?1 OR name = ?1"#,
        reference
    )
    .fetch_optional(&mut *connection)
    .await?;
    match id {
        Some(id) => get(connection, id).await,
        None => Ok(None),
    }
}

/// The job of that id.
///
/// # Errors
/// The database failed.
pub async fn get(connection: &mut SqliteConnection, id: JobId) -> Result<Option<Job>> {
    Ok(of_ids(connection, &[id]).await?.pop())
}

/// Ids of the jobs of that status, oldest first.
///
/// # Errors
/// The database failed.
pub async fn with_status(
    connection: &mut SqliteConnection,
    status: JobStatus,
) -> Result<Vec<JobId>> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: JobId" FROM jobs WHERE status = ? ORDER BY id"#,
        status
    )
    .fetch_all(connection)
    .await?)
}

/// Every job and its status, as of one moment.
///
/// # Errors
/// The database failed.
pub async fn statuses(connection: &mut SqliteConnection) -> Result<Vec<(JobId, JobStatus)>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: JobId", status AS "status: JobStatus" FROM jobs ORDER BY id"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.status)).collect())
}

/// The number of jobs by status, zeros included.
///
/// # Errors
/// The database failed.
pub async fn counts(connection: &mut SqliteConnection) -> Result<Vec<(JobStatus, u32)>> {
    let rows = sqlx::query!(
        r#"SELECT status AS "status: JobStatus", COUNT(*) AS "jobs!: u32" FROM jobs GROUP BY status"#
    )
    .fetch_all(connection)
    .await?;
    let count = |status| rows.iter().find(|row| row.status == status).map_or(0, |row| row.jobs);
    Ok(JobStatus::ALL.map(|status| (status, count(status))).to_vec())
}

/// Takes the oldest job out of the queue: it is now running, with one more attempt.
///
/// # Errors
/// The database failed.
pub async fn claim_next(connection: &mut SqliteConnection) -> Result<Option<JobId>> {
    let now = Time(Timestamp::now());
    Ok(sqlx::query_scalar!(
        r#"UPDATE jobs
           SET status = 'running', attempts = attempts + 1, started_at = coalesce(started_at, ?),
               finished_at = NULL, error_code = NULL, error_detail = NULL
           WHERE id = (SELECT id FROM jobs WHERE status = 'queued' ORDER BY id LIMIT 1)
           RETURNING id AS "id!: JobId""#,
        now,
    )
    .fetch_optional(connection)
    .await?)
}

/// Moves a job from `from` to the final status `to`, which ends its attempts; returns whether it was in
/// `from`.
///
/// # Errors
/// The database failed.
pub async fn finish(
    connection: &mut SqliteConnection,
    id: JobId,
    from: JobStatus,
    to: JobStatus,
    error: Option<&JobError>,
) -> Result<bool> {
    debug_assert!(from.can_become(to) && to.is_final());
    let now = Time(Timestamp::now());
    let (code, detail) = (error.map(|error| &error.code), error.map(|error| &error.detail));
    let done = sqlx::query!(
        "UPDATE jobs
         SET status = ?, error_code = ?, error_detail = ?, finished_at = ?, requested = NULL
         WHERE id = ? AND status = ?",
        to,
        code,
        detail,
        now,
        id,
        from,
    )
    .execute(&mut *connection)
    .await?;
    let done = done.rows_affected() == 1;
    if done {
        attempts::end_all(connection, id).await?;
    }
    Ok(done)
}

/// Puts a job that is in `from` back into the queue with this number of attempts, and ends its trainers
/// on other machines; returns whether it was in `from`.
///
/// # Errors
/// The database failed.
pub async fn requeue(
    connection: &mut SqliteConnection,
    id: JobId,
    from: JobStatus,
    attempts: u32,
) -> Result<bool> {
    debug_assert!(from.can_become(JobStatus::Queued));
    let done = sqlx::query!(
        "UPDATE jobs
         SET status = 'queued', attempts = ?, finished_at = NULL, error_code = NULL, error_detail = NULL
         WHERE id = ? AND status = ?",
        attempts,
        id,
        from,
    )
    .execute(&mut *connection)
    .await?;
    let done = done.rows_affected() == 1;
    if done {
        attempts::end_all(connection, id).await?;
    }
    Ok(done)
}

/// Saves a user's request for a running job, also for a trainer that starts after this one; a stop
/// does not replace a cancel. Returns whether the job was running.
///
/// # Errors
/// The database failed.
pub async fn request(
    connection: &mut SqliteConnection,
    id: JobId,
    request: ControlRequest,
) -> Result<bool> {
    let word = match request {
        ControlRequest::Cancel => "cancel",
        ControlRequest::Stop => "stop",
    };
    let done = sqlx::query!(
        "UPDATE jobs SET requested = CASE requested WHEN 'cancel' THEN 'cancel' ELSE ? END
         WHERE id = ? AND status = 'running'",
        word,
        id,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A user's request for a job.
///
/// # Errors
/// The database failed.
pub async fn requested(
    connection: &mut SqliteConnection,
    id: JobId,
) -> Result<Option<ControlRequest>> {
    let word = sqlx::query_scalar!("SELECT requested FROM jobs WHERE id = ?", id)
        .fetch_optional(connection)
        .await?
        .flatten();
    Ok(match word.as_deref() {
        Some("cancel") => Some(ControlRequest::Cancel),
        Some("stop") => Some(ControlRequest::Stop),
        _ => None,
    })
}

/// Deletes a job that is neither queued nor running, with its epochs and events; returns whether
/// there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(connection: &mut SqliteConnection, id: JobId) -> Result<bool> {
    let done =
        sqlx::query!("DELETE FROM jobs WHERE id = ? AND status NOT IN ('queued', 'running')", id)
            .execute(connection)
            .await?;
    Ok(done.rows_affected() == 1)
}
