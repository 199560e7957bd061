//! Rows of attempts: trainers on other machines, one for each time that one is started.

use std::collections::HashMap;

use sqlx::{SqliteConnection, types::Json};

use super::{Result, types::Time};
use crate::domain::{
    JobId, ModelId, Timestamp,
    dataset::Digest,
    ids::AttemptId,
    placement::{ExecutorKind, Placement, PlacementState},
};

/// An attempt to be started.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    /// Its id.
    pub id: AttemptId,
    /// The job.
    pub job: JobId,
    /// The model that it evaluates on the images of the job, if it doesn't train.
    pub compared: Option<ModelId>,
    /// What starts it.
    pub executor: ExecutorKind,
    /// SHA-256 of its token.
    pub token_sha256: Digest,
}

/// An attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// The job.
    pub job: JobId,
    /// The model that it evaluates on the images of the job, if it doesn't train.
    pub compared: Option<ModelId>,
    /// What starts it.
    pub executor: ExecutorKind,
    /// SHA-256 of its token.
    pub token_sha256: Digest,
    /// The cluster's id, once it is submitted.
    pub external_id: Option<String>,
    /// Host name of its node, once its trainer has reported.
    pub node: Option<String>,
    /// Events before this one are saved.
    pub next_sequence: u64,
    /// Bytes of its log that are saved.
    pub log_bytes: u64,
    /// JSON of the event that it ended with.
    pub last_event: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it has ended.
    pub ended: bool,
}

struct Row {
    id: AttemptId,
    job_id: JobId,
    compared: Option<ModelId>,
    executor: ExecutorKind,
    token_sha256: Digest,
    external_id: Option<String>,
    node: Option<String>,
    next_sequence: i64,
    log_bytes: i64,
    last_event: Option<String>,
    created_at: Time,
    ended_at: Option<Time>,
}

impl From<Row> for Attempt {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            job: row.job_id,
            compared: row.compared,
            executor: row.executor,
            token_sha256: row.token_sha256,
            external_id: row.external_id,
            node: row.node,
            next_sequence: row.next_sequence.unsigned_abs(),
            log_bytes: row.log_bytes.unsigned_abs(),
            last_event: row.last_event,
            created_at: row.created_at.0,
            ended: row.ended_at.is_some(),
        }
    }
}

/// Stores an attempt; earlier ones at the same job end.
///
/// # Errors
/// The database failed.
pub async fn insert(connection: &mut SqliteConnection, attempt: &NewAttempt) -> Result<()> {
    end_all(connection, attempt.job).await?;
    let now = Time(Timestamp::now());
    sqlx::query!(
        "INSERT INTO attempts (id, job_id, compared, executor, token_sha256, created_at)
         VALUES (?, ?, ?, ?, ?, ?)",
        attempt.id,
        attempt.job,
        attempt.compared,
        attempt.executor,
        attempt.token_sha256,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the attempts at a job: none of them can report anything from now on.
///
/// # Errors
/// The database failed.
pub async fn end_all(connection: &mut SqliteConnection, job: JobId) -> Result<()> {
    let now = Time(Timestamp::now());
    sqlx::query!(
        "UPDATE attempts SET ended_at = ?, message = NULL WHERE job_id = ? AND ended_at IS NULL",
        now,
        job
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The attempt of that id.
///
/// # Errors
/// The database failed.
pub async fn get(connection: &mut SqliteConnection, id: AttemptId) -> Result<Option<Attempt>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: _", job_id AS "job_id: _", compared AS "compared: _",
                  executor AS "executor: _", token_sha256 AS "token_sha256: _", external_id, node,
                  next_sequence, log_bytes, last_event, created_at AS "created_at: Time",
                  ended_at AS "ended_at: Time"
           FROM attempts WHERE id = ?"#,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Attempt::from))
}

/// The newest attempt at a job, if it has not ended.
///
/// # Errors
/// The database failed.
pub async fn current(connection: &mut SqliteConnection, job: JobId) -> Result<Option<Attempt>> {
    let id = sqlx::query_scalar!(
        r#"SELECT id AS "id: AttemptId" FROM attempts WHERE job_id = ? AND ended_at IS NULL
           ORDER BY id DESC LIMIT 1"#,
        job
    )
    .fetch_optional(&mut *connection)
    .await?;
    match id {
        Some(id) => get(connection, id).await,
        None => Ok(None),
    }
}

/// Saves the id that the cluster gave it, and the page of it on the cluster's dashboard.
///
/// # Errors
/// The database failed.
pub async fn submitted(
    connection: &mut SqliteConnection,
    id: AttemptId,
    external_id: &str,
    url: Option<&str>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE attempts SET external_id = ?, url = ?, message = NULL WHERE id = ?",
        external_id,
        url,
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Saves what it waits for.
///
/// # Errors
/// The database failed.
pub async fn waits_for(
    connection: &mut SqliteConnection,
    id: AttemptId,
    message: Option<&str>,
) -> Result<()> {
    sqlx::query!("UPDATE attempts SET message = ? WHERE id = ?", message, id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Saves that its trainer runs on that node.
///
/// # Errors
/// The database failed.
pub async fn runs_on(connection: &mut SqliteConnection, id: AttemptId, node: &str) -> Result<()> {
    sqlx::query!("UPDATE attempts SET node = ?, message = NULL WHERE id = ?", node, id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Saves that the event of that number is saved; part of the transaction that saves it.
///
/// # Errors
/// The database failed.
pub async fn saved(connection: &mut SqliteConnection, id: AttemptId, sequence: u64) -> Result<()> {
    let next = i64::try_from(sequence).unwrap_or(i64::MAX).saturating_add(1);
    sqlx::query!("UPDATE attempts SET next_sequence = ? WHERE id = ?", next, id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Saves how it ended.
///
/// # Errors
/// The database failed.
pub async fn last_event(
    connection: &mut SqliteConnection,
    id: AttemptId,
    json: &str,
) -> Result<()> {
    sqlx::query!("UPDATE attempts SET last_event = ? WHERE id = ?", json, id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Saves how much of its log is saved.
///
/// # Errors
/// The database failed.
pub async fn logged(connection: &mut SqliteConnection, id: AttemptId, bytes: u64) -> Result<()> {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    sqlx::query!("UPDATE attempts SET log_bytes = ? WHERE id = ?", bytes, id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Where the trainers of these jobs run, or ran last; without those that ran on the server.
///
/// # Errors
/// The database failed.
pub async fn placements(
    connection: &mut SqliteConnection,
    jobs: &[JobId],
) -> Result<HashMap<JobId, Placement>> {
    let jobs = Json(jobs);
    let rows = sqlx::query_as!(
        PlacementRow,
        r#"SELECT id AS "id: AttemptId", job_id AS "job_id: JobId",
                  executor AS "executor: ExecutorKind", external_id, url, node, message,
                  ended_at AS "ended_at: Time"
           FROM attempts
           WHERE id IN (SELECT (SELECT newest.id FROM attempts AS newest WHERE newest.job_id = value
                                ORDER BY newest.id DESC LIMIT 1)
                        FROM json_each(?))"#,
        jobs
    )
    .fetch_all(connection)
    .await?;
    let placement = |row: PlacementRow| {
        let state = match (row.ended_at, &row.node, &row.external_id) {
            (Some(_), ..) => PlacementState::Ended,
            (_, Some(_), _) => PlacementState::Running,
            (_, _, Some(_)) => PlacementState::Waiting,
            _ => PlacementState::Submitting,
        };
        let placement = Placement {
            executor: row.executor,
            state,
            attempt: row.id,
            id: row.external_id,
            node: row.node,
            url: row.url,
            message: row.message,
        };
        (row.job_id, placement)
    };
    Ok(rows.into_iter().map(placement).collect())
}

struct PlacementRow {
    id: AttemptId,
    job_id: JobId,
    executor: ExecutorKind,
    external_id: Option<String>,
    url: Option<String>,
    node: Option<String>,
    message: Option<String>,
    ended_at: Option<Time>,
}
