//! What estimates of the duration of jobs are based on.

use sqlx::{SqliteConnection, types::Json};

use super::{Error, Result, types::Time};
use crate::domain::{
    DatasetId, estimate::FinishedJob, model::Architecture, parameters::Params, recipe::Recipe,
};

/// Size in bytes of the images of a dataset that was deleted: about that of a small photo.
const BYTES: f64 = 50_000.0;

struct Row {
    recipe: Recipe,
    params: Json<Params>,
    dataset: Option<DatasetId>,
    classes: Option<u32>,
    bytes: Option<f64>,
    learned: f64,
    train_share: Option<f64>,
    tested: Option<i64>,
    device: String,
    epochs: u32,
    epoch_seconds: f64,
    started_at: Time,
    finished_at: Time,
    queued: u32,
    rival: Option<String>,
}

impl TryFrom<Row> for FinishedJob {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let seconds = row.finished_at.0.duration_since(row.started_at.0).as_secs_f64();
        Ok(Self {
            recipe: row.recipe,
            params: row.params.0,
            dataset: row.dataset,
            classes: row.classes.unwrap_or(2) as usize,
            bytes: row.bytes.unwrap_or(BYTES),
            learned: row.learned.round(),
            train_share: row.train_share,
            tested: row.tested.unwrap_or(0) as f64,
            device: row.device,
            epochs: row.epochs,
            epoch_seconds: row.epoch_seconds,
            seconds,
            queued: row.queued,
            // A model of an architecture that this program does not know takes part in no estimate.
            rival: row.rival.and_then(|name| Architecture::try_from(name).ok()),
        })
    }
}

/// The newest jobs that succeeded and whose epochs are known, newest first, with the mean size of some
/// images of their datasets, and the share of the training images among some others: those with the lowest
/// hashes, which are like drawn by lot.
///
/// # Errors
/// The database failed.
pub async fn newest(connection: &mut SqliteConnection, limit: u32) -> Result<Vec<FinishedJob>> {
    let rows = sqlx::query_as!(
        Row,
        r#"WITH newest AS (
               SELECT * FROM jobs
               WHERE status = 'succeeded' AND device IS NOT NULL
                 AND started_at IS NOT NULL AND finished_at IS NOT NULL
                 AND EXISTS (SELECT 1 FROM epochs WHERE job_id = jobs.id)
               ORDER BY id DESC
               LIMIT ?),
           shares AS (
               SELECT dataset_id,
                      (SELECT AVG(split = 'train')
                       FROM (SELECT split FROM images
                             WHERE images.dataset_id = used.dataset_id AND +split <> 'test'
                             ORDER BY sha256 LIMIT 1000)) AS train_share
               FROM (SELECT DISTINCT dataset_id FROM newest) AS used)
           SELECT recipe AS "recipe!: Recipe", params AS "params!: Json<Params>",
                  newest.dataset_id AS "dataset: DatasetId",
                  (SELECT json_array_length(classes) FROM models
                   WHERE id = newest.model_id) AS "classes: u32",
                  (SELECT AVG(bytes) FROM (SELECT bytes FROM images
                                           WHERE dataset_id = newest.dataset_id LIMIT 50)) AS "bytes: f64",
                  (SELECT seconds * images_per_second FROM epochs
                   WHERE job_id = newest.id LIMIT 1) AS "learned!: f64",
                  train_share AS "train_share: f64",
                  (SELECT json_extract(data, '$.count') FROM job_events
                   WHERE job_id = newest.id AND kind = 'evaluation' LIMIT 1) AS "tested: i64",
                  device AS "device!",
                  (SELECT COUNT(*) FROM epochs WHERE job_id = newest.id) AS "epochs!: u32",
                  (SELECT SUM(seconds) FROM epochs WHERE job_id = newest.id) AS "epoch_seconds!: f64",
                  started_at AS "started_at!: Time", finished_at AS "finished_at!: Time",
                  (SELECT COUNT(*) FROM job_events
                   WHERE job_id = newest.id AND kind = 'status'
                     AND json_extract(data, '$.status') = 'queued') AS "queued!: u32",
                  (SELECT architecture FROM models
                   WHERE id = json_extract(newest.service, '$.compared_with.model_id')) AS "rival: String"
           FROM newest LEFT JOIN shares ON shares.dataset_id = newest.dataset_id
           ORDER BY newest.id DESC"#,
        limit
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(FinishedJob::try_from).collect()
}
