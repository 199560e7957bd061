//! The log of predictions: what is written to it and deleted from it. `prediction_pages` reads it,
//! `prediction_counts` counts it.

use sqlx::{SqliteConnection, types::Json};

use super::Result;
use crate::domain::{
    ClassName, ModelId, Name, PredictionId, Timestamp,
    baseline::Baseline,
    dataset::{Classes, Digest},
    prediction::Timing,
    selective::UnsureReason,
};

/// A model whose predictions are logged.
#[derive(Debug, Clone)]
pub struct NewModel<'a> {
    /// Its id.
    pub id: ModelId,
    /// Its name.
    pub name: &'a Name,
    /// Its classes.
    pub classes: &'a Classes,
    /// What drift is measured against.
    pub baseline: Baseline,
}

/// A prediction to log.
#[derive(Debug, Clone)]
pub struct NewPrediction {
    /// Its id.
    pub id: PredictionId,
    /// When it was answered.
    pub created_at: Timestamp,
    /// SHA-256 of the image.
    pub sha256: Digest,
    /// File name in the request, if any.
    pub file_name: Option<String>,
    /// Predicted class.
    pub label: ClassName,
    /// Its probability.
    pub probability: f64,
    /// The probability of each class, in the order of indices; `None` if there are too many.
    pub probabilities: Option<Vec<f32>>,
    /// Why the model was unsure, if it was.
    pub reason: Option<UnsureReason>,
    /// Distance to the training images.
    pub distance: Option<f64>,
    /// Name of the API token.
    pub token: Option<Name>,
    /// Timing of the request.
    pub timing: Timing,
}

/// Saves a model, unless it is known, and returns its number.
///
/// # Errors
/// The database failed.
pub async fn put_model(connection: &mut SqliteConnection, model: &NewModel<'_>) -> Result<i64> {
    let (classes, baseline) = (Json(model.classes), Json(&model.baseline));
    Ok(sqlx::query_scalar!(
        "INSERT INTO prediction_models (id, name, classes, baseline) VALUES (?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING number",
        model.id,
        model.name,
        classes,
        baseline
    )
    .fetch_one(connection)
    .await?)
}

/// Saves a prediction of the model of that number, and returns its own.
///
/// # Errors
/// The database failed.
pub async fn insert(
    connection: &mut SqliteConnection,
    model: i64,
    new: &NewPrediction,
) -> Result<i64> {
    let created_at = new.created_at.as_millisecond();
    let probabilities: Option<Vec<u8>> = new
        .probabilities
        .as_ref()
        .map(|all| all.iter().flat_map(|probability| probability.to_le_bytes()).collect());
    let reason = new.reason.map(UnsureReason::as_str);
    let Timing { decode, queue, inference, total } = new.timing;
    let done = sqlx::query!(
        "INSERT INTO predictions (id, model, created_at, sha256, file_name, label, probability, probabilities,
                                  reason, distance, token, decode_ms, queue_ms, inference_ms, total_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        new.id,
        model,
        created_at,
        new.sha256,
        new.file_name,
        new.label,
        new.probability,
        probabilities,
        reason,
        new.distance,
        new.token,
        decode,
        queue,
        inference,
        total
    )
    .execute(connection)
    .await?;
    Ok(done.last_insert_rowid())
}

/// Sets what is known of the class of a prediction's image, or that nothing is; returns whether there is such
/// a prediction.
///
/// # Errors
/// The database failed.
pub async fn set_feedback(
    connection: &mut SqliteConnection,
    id: PredictionId,
    label: Option<&ClassName>,
    by: Option<&Name>,
    at: Timestamp,
) -> Result<bool> {
    let at = label.map(|_| at.as_millisecond());
    let done = sqlx::query!(
        "UPDATE predictions SET feedback = ?, feedback_by = ?, feedback_at = ? WHERE id = ?",
        label,
        by,
        at,
        id
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a prediction; returns the hash of its image, if there was such a prediction.
///
/// # Errors
/// The database failed.
pub async fn delete(connection: &mut SqliteConnection, id: PredictionId) -> Result<Option<Digest>> {
    Ok(sqlx::query_scalar!(
        r#"DELETE FROM predictions WHERE id = ? RETURNING sha256 AS "sha256: Digest""#,
        id
    )
    .fetch_optional(connection)
    .await?)
}

/// Deletes predictions of before `time`, the oldest first and at most `limit`; returns the hashes of their
/// images.
///
/// # Errors
/// The database failed.
pub async fn delete_before(
    connection: &mut SqliteConnection,
    time: Timestamp,
    limit: u32,
) -> Result<Vec<Digest>> {
    let time = time.as_millisecond();
    Ok(sqlx::query_scalar!(
        r#"DELETE FROM predictions WHERE number IN
             (SELECT number FROM predictions INDEXED BY predictions_by_time
              WHERE created_at < ? ORDER BY created_at LIMIT ?)
           RETURNING sha256 AS "sha256: Digest""#,
        time,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// Deletes all but the newest `kept` predictions, the oldest first and at most `limit`; returns the hashes of
/// their images. One that was deleted since still counts as one of the newest.
///
/// # Errors
/// The database failed.
pub async fn delete_oldest(
    connection: &mut SqliteConnection,
    kept: u64,
    limit: u32,
) -> Result<Vec<Digest>> {
    let kept = i64::try_from(kept).unwrap_or(i64::MAX);
    Ok(sqlx::query_scalar!(
        r#"DELETE FROM predictions WHERE number IN
             (SELECT number FROM predictions
              WHERE number <= (SELECT max(number) FROM predictions) - ? ORDER BY number LIMIT ?)
           RETURNING sha256 AS "sha256: Digest""#,
        kept,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// Whether there is anything to delete: predictions of before `time` or beyond the newest `kept`, or a model of
/// which no prediction is left.
///
/// # Errors
/// The database failed.
pub async fn has_surplus(
    connection: &mut SqliteConnection,
    time: Timestamp,
    kept: u64,
) -> Result<bool> {
    let (time, kept) = (time.as_millisecond(), i64::try_from(kept).unwrap_or(i64::MAX));
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM predictions INDEXED BY predictions_by_time WHERE created_at < ?)
               OR EXISTS (SELECT 1 FROM predictions
                          WHERE number <= (SELECT max(number) FROM predictions) - ?)
               OR EXISTS (SELECT 1 FROM prediction_models
                          WHERE NOT EXISTS (SELECT 1 FROM predictions
                                            WHERE model = prediction_models.number)) AS "surplus!: bool""#,
        time,
        kept
    )
    .fetch_one(connection)
    .await?)
}

/// Deletes the models of which no prediction is left.
///
/// # Errors
/// The database failed.
pub async fn delete_unused_models(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query!(
        "DELETE FROM prediction_models
         WHERE NOT EXISTS (SELECT 1 FROM predictions WHERE model = prediction_models.number)"
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A kept photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Photo {
    /// Its hash.
    pub sha256: Digest,
    /// Its size.
    pub bytes: i64,
}

/// Notes that a photo is kept, or that the prediction of that number is the newest of it.
///
/// # Errors
/// The database failed.
pub async fn put_photo(
    connection: &mut SqliteConnection,
    Photo { sha256, bytes }: Photo,
    number: i64,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO prediction_photos (sha256, bytes, number) VALUES (?, ?, ?)
         ON CONFLICT (sha256) DO UPDATE SET number = excluded.number",
        sha256,
        bytes,
        number
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes those of these photos that belong to no prediction any more, and returns them.
///
/// # Errors
/// The database failed.
pub async fn delete_unused_photos(
    connection: &mut SqliteConnection,
    photos: &[Digest],
) -> Result<Vec<Photo>> {
    let photos = Json(photos);
    Ok(sqlx::query_as!(
        Photo,
        r#"DELETE FROM prediction_photos
           WHERE sha256 IN (SELECT value FROM json_each(?))
             AND NOT EXISTS (SELECT 1 FROM predictions WHERE predictions.sha256 = prediction_photos.sha256)
           RETURNING sha256 AS "sha256: Digest", bytes"#,
        photos
    )
    .fetch_all(connection)
    .await?)
}

/// Deletes the oldest photos, as many as have `excess` bytes but at most `limit`, and returns them.
///
/// # Errors
/// The database failed.
pub async fn delete_oldest_photos(
    connection: &mut SqliteConnection,
    excess: u64,
    limit: u32,
) -> Result<Vec<Photo>> {
    let excess = i64::try_from(excess).unwrap_or(i64::MAX);
    // In the order of the index, so that only these are read.
    Ok(sqlx::query_as!(
        Photo,
        r#"DELETE FROM prediction_photos
           WHERE sha256 IN
             (SELECT sha256 FROM
                (SELECT sha256, SUM(bytes) OVER (ORDER BY number, bytes, sha256) - bytes AS older
                 FROM (SELECT number, bytes, sha256 FROM prediction_photos
                       ORDER BY number, bytes, sha256 LIMIT ?1))
              WHERE older < ?2)
           RETURNING sha256 AS "sha256!: Digest", bytes AS "bytes!: i64""#,
        limit,
        excess
    )
    .fetch_all(connection)
    .await?)
}

/// Whether a photo is kept.
///
/// # Errors
/// The database failed.
pub async fn has_photo(connection: &mut SqliteConnection, sha256: &Digest) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM prediction_photos WHERE sha256 = ?) AS "kept!: bool""#,
        sha256
    )
    .fetch_one(connection)
    .await?)
}

/// All kept photos. Also of a database that is not migrated yet.
///
/// # Errors
/// The database failed.
pub async fn photos(connection: &mut SqliteConnection) -> Result<Vec<Photo>> {
    if !super::has_table(connection, "prediction_photos").await? {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as!(
        Photo,
        r#"SELECT sha256 AS "sha256: Digest", bytes FROM prediction_photos ORDER BY sha256"#
    )
    .fetch_all(connection)
    .await?)
}

/// Deletes these photos.
///
/// # Errors
/// The database failed.
pub async fn delete_photos(connection: &mut SqliteConnection, photos: &[Digest]) -> Result<()> {
    let photos = Json(photos);
    sqlx::query!(
        "DELETE FROM prediction_photos WHERE sha256 IN (SELECT value FROM json_each(?))",
        photos
    )
    .execute(connection)
    .await?;
    Ok(())
}
