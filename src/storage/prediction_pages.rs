//! Pages of the log of predictions, and single ones. One index serves each filter; where there are several,
//! the first that lets the fewest through. That of the time serves where it is short.

use sqlx::{SqliteConnection, types::Json};

use super::{Error, Page, Result};
use crate::domain::{
    ClassName, ModelId, Name, PredictionId, Timestamp,
    dataset::{Classes, Digest},
    logged::{Feedback, LoggedModel, LoggedPrediction},
    prediction::Timing,
    selective::UnsureReason,
};

/// Predictions that are sorted for one page, at most.
const FEW: i64 = 1000;

/// The filter of a list of predictions.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of the model of this number.
    pub model: Option<i64>,
    /// Those that the model was unsure of, or was not.
    pub unsure: Option<bool>,
    /// Those whose feedback names another class, or does not.
    pub contradicted: Option<bool>,
    /// Those with feedback, or without.
    pub with_feedback: Option<bool>,
    /// Those of this class.
    pub label: Option<String>,
    /// Those of this token.
    pub token: Option<String>,
    /// Those from this time on.
    pub from: Option<Timestamp>,
    /// Those before this time.
    pub to: Option<Timestamp>,
    /// Those logged before the one of this number.
    pub before: Option<i64>,
}

/// A prediction and its number.
#[derive(Debug, Clone)]
struct Numbered {
    number: i64,
    prediction: LoggedPrediction,
}

/// The predictions that `filter` lets through, newest first.
///
/// # Errors
/// The database failed.
pub async fn page(
    connection: &mut SqliteConnection,
    filter: &Filter,
    limit: u32,
) -> Result<Page<LoggedPrediction>> {
    let numbers = numbers(connection, filter, limit + 1).await?;
    let page = Page::new(numbers, limit, i64::to_string);
    let rows = of_numbers(connection, &page.items).await?;
    let items = rows.into_iter().map(|row| row.prediction).collect();
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// The prediction of that id.
///
/// # Errors
/// The database failed.
pub async fn find(
    connection: &mut SqliteConnection,
    id: PredictionId,
) -> Result<Option<LoggedPrediction>> {
    let number = sqlx::query_scalar!("SELECT number FROM predictions WHERE id = ?", id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(number) = number else { return Ok(None) };
    Ok(of_numbers(connection, &[number]).await?.pop().map(|row| row.prediction))
}

/// The classes of the model of a prediction.
///
/// # Errors
/// The database failed.
pub async fn classes(
    connection: &mut SqliteConnection,
    id: PredictionId,
) -> Result<Option<Classes>> {
    let classes = sqlx::query_scalar!(
        r#"SELECT classes AS "classes: Json<Classes>" FROM predictions
           JOIN prediction_models ON prediction_models.number = model WHERE predictions.id = ?"#,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(classes.map(|Json(classes)| classes))
}

/// The numbers of predictions by one index: `$by` says which, and its condition.
macro_rules! numbers_by {
    ($by:literal, $filter:expr, $limit:expr, $connection:expr) => {{
        let Filter { model, unsure, contradicted, with_feedback, label, token, from, to, before } =
            $filter;
        let before = before.unwrap_or(i64::MAX);
        let from = from.map(Timestamp::as_millisecond);
        let to = to.map(Timestamp::as_millisecond);
        let query = sqlx::query_scalar!(
            r#"SELECT number AS "number!" FROM predictions "# + $by
                + " number < ?2 AND (?1 IS NULL OR model = ?1) AND (?3 IS NULL OR (reason IS NOT NULL) = ?3)
                    AND (?4 IS NULL OR (feedback IS NOT NULL AND feedback <> label) = ?4)
                    AND (?5 IS NULL OR (feedback IS NOT NULL) = ?5)
                    AND (?6 IS NULL OR label = ?6) AND (?7 IS NULL OR token = ?7)
                    AND (?8 IS NULL OR created_at >= ?8) AND (?9 IS NULL OR created_at < ?9)
                    ORDER BY number DESC LIMIT ?10",
            model,
            before,
            unsure,
            contradicted,
            with_feedback,
            label,
            token,
            from,
            to,
            $limit
        );
        query.fetch_all($connection).await?
    }};
}

async fn numbers(
    connection: &mut SqliteConnection,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<i64>> {
    let few = are_few(connection, filter.from, filter.to).await?;
    Ok(match filter {
        _ if few => numbers_by!(
            "INDEXED BY predictions_by_time WHERE created_at BETWEEN ifnull(?8, -9e18) AND ifnull(?9, 9e18) AND",
            filter,
            limit,
            connection
        ),
        Filter { contradicted: Some(true), .. } => numbers_by!(
            "INDEXED BY predictions_contradicted WHERE feedback IS NOT NULL AND feedback <> label AND",
            filter,
            limit,
            connection
        ),
        Filter { with_feedback: Some(true), .. } => numbers_by!(
            "INDEXED BY predictions_with_feedback WHERE feedback IS NOT NULL AND",
            filter,
            limit,
            connection
        ),
        Filter { unsure: Some(true), with_feedback: Some(false), .. } => numbers_by!(
            "INDEXED BY predictions_to_check WHERE reason IS NOT NULL AND feedback IS NULL AND",
            filter,
            limit,
            connection
        ),
        Filter { unsure: Some(true), .. } => numbers_by!(
            "INDEXED BY predictions_unsure WHERE reason IS NOT NULL AND",
            filter,
            limit,
            connection
        ),
        Filter { token: Some(_), .. } => numbers_by!(
            "INDEXED BY predictions_by_token WHERE token = ?7 AND token IS NOT NULL AND",
            filter,
            limit,
            connection
        ),
        Filter { label: Some(_), .. } => numbers_by!(
            "INDEXED BY predictions_by_label WHERE label = ?6 AND",
            filter,
            limit,
            connection
        ),
        Filter { model: Some(_), .. } => numbers_by!(
            "INDEXED BY predictions_by_model WHERE model = ?1 AND",
            filter,
            limit,
            connection
        ),
        _ => numbers_by!("WHERE", filter, limit, connection),
    })
}

/// Whether so few predictions are of this time that they are sorted faster than all newer ones are passed over.
/// A time tells no number from which on to look: clocks are put back.
async fn are_few(
    connection: &mut SqliteConnection,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<bool> {
    if from.is_none() && to.is_none() {
        return Ok(false);
    }
    let from = from.map(Timestamp::as_millisecond);
    let to = to.map(Timestamp::as_millisecond);
    let count = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!: i64" FROM
             (SELECT 1 FROM predictions INDEXED BY predictions_by_time
              WHERE created_at BETWEEN ifnull(?1, -9e18) AND ifnull(?2, 9e18) LIMIT ?3)"#,
        from,
        to,
        FEW
    )
    .fetch_one(connection)
    .await?;
    Ok(count < FEW)
}

struct Row {
    number: i64,
    id: PredictionId,
    model_id: ModelId,
    model_name: Name,
    classes: Json<Classes>,
    created_at: i64,
    sha256: Digest,
    photo: bool,
    file_name: Option<String>,
    label: ClassName,
    probability: f64,
    probabilities: Option<Vec<u8>>,
    reason: Option<String>,
    distance: Option<f64>,
    token: Option<Name>,
    decode_ms: f64,
    queue_ms: f64,
    inference_ms: f64,
    total_ms: f64,
    feedback: Option<ClassName>,
    feedback_by: Option<Name>,
    feedback_at: Option<i64>,
}

impl TryFrom<Row> for Numbered {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let reason = row.reason.map(|text| {
            let known = UnsureReason::ALL.into_iter().find(|reason| reason.as_str() == text);
            known.ok_or(Error::Damaged(text))
        });
        let reason = reason.transpose()?;
        let probabilities = row.probabilities.map(|bytes| {
            let values =
                bytes.as_chunks::<4>().0.iter().map(|it| f64::from(f32::from_le_bytes(*it)));
            row.classes.0.names().iter().cloned().zip(values).collect()
        });
        let feedback = row.feedback.zip(row.feedback_at).map(|(label, at)| {
            Ok::<_, Error>(Feedback { label, by: row.feedback_by, at: time(at)? })
        });
        let prediction = LoggedPrediction {
            id: row.id,
            created_at: time(row.created_at)?,
            model: LoggedModel { id: row.model_id, name: row.model_name },
            file_name: row.file_name,
            label: row.label,
            probability: row.probability,
            probabilities,
            unsure: reason.is_some(),
            reason,
            distance: row.distance,
            timing_ms: Timing {
                decode: row.decode_ms,
                queue: row.queue_ms,
                inference: row.inference_ms,
                total: row.total_ms,
            },
            token: row.token,
            sha256: row.sha256,
            photo: row.photo,
            feedback: feedback.transpose()?,
        };
        Ok(Self { number: row.number, prediction })
    }
}

fn time(milliseconds: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(|error| Error::Damaged(error.to_string()))
}

/// The predictions of these numbers, newest first.
async fn of_numbers(connection: &mut SqliteConnection, numbers: &[i64]) -> Result<Vec<Numbered>> {
    let numbers = Json(numbers);
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT predictions.number AS "number!", predictions.id AS "id: PredictionId",
                  prediction_models.id AS "model_id: ModelId", prediction_models.name AS "model_name: Name",
                  classes AS "classes: Json<Classes>", created_at, sha256 AS "sha256: Digest",
                  EXISTS (SELECT 1 FROM prediction_photos
                          WHERE prediction_photos.sha256 = predictions.sha256) AS "photo!: bool",
                  file_name, label AS "label: ClassName", probability, probabilities, reason, distance,
                  token AS "token: Name", decode_ms, queue_ms, inference_ms, total_ms,
                  feedback AS "feedback: ClassName", feedback_by AS "feedback_by: Name", feedback_at
           FROM predictions JOIN prediction_models ON prediction_models.number = model
           WHERE predictions.number IN (SELECT value FROM json_each(?))"#,
        numbers
    )
    .fetch_all(connection)
    .await?;
    let mut rows = rows.into_iter().map(Numbered::try_from).collect::<Result<Vec<_>>>()?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.number));
    Ok(rows)
}
