//! What is counted in the log of predictions: of each model, over time.

use std::collections::{BTreeMap, HashMap};

use sqlx::{SqliteConnection, types::Json};

use super::Result;
use crate::domain::{
    ClassName, ModelId, Name, Timestamp,
    baseline::{Baseline, DistanceBins},
    dataset::Classes,
    drift::Counted,
    logged::{FeedbackAccuracy, LoggedModel, LoggedModelSummary},
    selective::AnswerThresholds,
};

/// Edges that the distances are cut at: as many as a baseline has at most.
const EDGES: usize = 9;
/// An edge that no distance exceeds.
const NO_EDGE: f64 = f64::MAX;

/// A model in the log.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its number in the log.
    pub number: i64,
    /// Its id and name.
    pub model: LoggedModel,
    /// Its classes.
    pub classes: Classes,
    /// What drift is measured against.
    pub baseline: Baseline,
    /// When it is unsure: as it was set, or if it was deleted, as its card says.
    pub thresholds: AnswerThresholds,
}

struct Row {
    number: i64,
    id: ModelId,
    name: Name,
    classes: Json<Classes>,
    baseline: Json<Baseline>,
    exists: bool,
    answer_above: Option<f64>,
    unlike_above: Option<f64>,
}

impl From<Row> for Model {
    fn from(row: Row) -> Self {
        let Json(baseline) = row.baseline;
        let set =
            AnswerThresholds { answer_above: row.answer_above, unlike_above: row.unlike_above };
        Self {
            number: row.number,
            model: LoggedModel { id: row.id, name: row.name },
            classes: row.classes.0,
            thresholds: if row.exists { set } else { baseline.thresholds },
            baseline,
        }
    }
}

/// The model of that name or id in the log; of several with the same name, the one that was logged last for
/// the first time.
///
/// # Errors
/// The database failed.
pub async fn model(connection: &mut SqliteConnection, reference: &str) -> Result<Option<Model>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT logged.number, logged.id AS "id: ModelId", logged.name AS "name: Name",
                  logged.classes AS "classes: Json<Classes>", baseline AS "baseline: Json<Baseline>",
                  models.id IS NOT NULL AS "exists!: bool", answer_above, unlike_above
           FROM prediction_models AS logged LEFT JOIN models ON models.id = logged.id
           WHERE logged.id = ?1 OR logged.name = ?1 ORDER BY logged.number DESC LIMIT 1"#,
        reference
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Into::into))
}

/// The models with a prediction from that time on.
///
/// # Errors
/// The database failed.
pub async fn recent_models(
    connection: &mut SqliteConnection,
    from: Timestamp,
) -> Result<Vec<Model>> {
    let from = from.as_millisecond();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT logged.number, logged.id AS "id: ModelId", logged.name AS "name: Name",
                  logged.classes AS "classes: Json<Classes>", baseline AS "baseline: Json<Baseline>",
                  models.id IS NOT NULL AS "exists!: bool", answer_above, unlike_above
           FROM prediction_models AS logged LEFT JOIN models ON models.id = logged.id
           WHERE EXISTS (SELECT 1 FROM predictions WHERE model = logged.number AND created_at >= ?)
           ORDER BY logged.number"#,
        from
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// What the log holds of each model, the newest first.
///
/// # Errors
/// The database failed.
pub async fn summary(connection: &mut SqliteConnection) -> Result<Vec<LoggedModelSummary>> {
    let feedback = sqlx::query!(
        r#"SELECT model, COUNT(*) AS "count!: i64", SUM(feedback = label) AS "correct!: i64",
                  SUM(reason IS NULL) AS "sure!: i64",
                  SUM(reason IS NULL AND feedback = label) AS "sure_correct!: i64"
           FROM predictions INDEXED BY predictions_feedback_of_model
           WHERE feedback IS NOT NULL GROUP BY model"#
    )
    .fetch_all(&mut *connection)
    .await?;
    let feedback: HashMap<_, _> = feedback.into_iter().map(|row| (row.model, row)).collect();
    let rows = sqlx::query!(
        r#"SELECT number, id AS "id: ModelId", name AS "name: Name", classes AS "classes: Json<Classes>",
                  (SELECT COUNT(*) FROM predictions INDEXED BY predictions_of_model
                   WHERE model = prediction_models.number) AS "predictions!: i64",
                  (SELECT COUNT(reason) FROM predictions INDEXED BY predictions_of_model
                   WHERE model = prediction_models.number) AS "unsure!: i64"
           FROM prediction_models ORDER BY number DESC"#
    )
    .fetch_all(connection)
    .await?;
    let of = |correct: i64, count: i64| {
        FeedbackAccuracy::new(correct.cast_unsigned(), count.cast_unsigned())
    };
    let models = rows.into_iter().filter(|row| row.predictions > 0).map(|row| {
        let feedback = feedback.get(&row.number);
        LoggedModelSummary {
            model: LoggedModel { id: row.id, name: row.name },
            classes: row.classes.0,
            predictions: row.predictions.cast_unsigned(),
            unsure: row.unsure.cast_unsigned(),
            feedback: feedback.map_or_else(|| of(0, 0), |it| of(it.correct, it.count)),
            sure_feedback: feedback.map_or_else(|| of(0, 0), |it| of(it.sure_correct, it.sure)),
        }
    });
    Ok(models.collect())
}

/// The predictions of a model from one time to another, counted in each of the buckets of as many
/// milliseconds, by the number of the bucket. Buckets without predictions are left out.
///
/// # Errors
/// The database failed.
pub async fn over_time(
    connection: &mut SqliteConnection,
    model: &Model,
    from: Timestamp,
    to: Timestamp,
    bucket: i64,
) -> Result<BTreeMap<i64, Counted>> {
    let (from, to) = (from.as_millisecond(), to.as_millisecond());
    let AnswerThresholds { answer_above, unlike_above } = model.thresholds;
    // By today's thresholds, as the reference is. `reason` is of those of its time.
    let classes = sqlx::query!(
        r#"SELECT (created_at - ?1) / ?3 AS "bucket!: i64", label AS "label!: ClassName",
                  COUNT(*) AS "count!: i64",
                  COUNT(CASE WHEN distance > ?5 OR probability < ?6 THEN 1 END) AS "unsure!: i64"
           FROM predictions INDEXED BY predictions_of_model
           WHERE model = ?4 AND created_at >= ?1 AND created_at < ?2 GROUP BY 1, label"#,
        from,
        to,
        bucket,
        model.number,
        unlike_above,
        answer_above
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut counted: BTreeMap<i64, Counted> = BTreeMap::new();
    for row in classes {
        let of_bucket = counted.entry(row.bucket).or_default();
        of_bucket.unsure += row.unsure.cast_unsigned();
        *of_bucket.classes.entry(row.label).or_default() += row.count.cast_unsigned();
    }
    let Some(DistanceBins { edges, .. }) = model.baseline.distances() else {
        return Ok(counted);
    };
    let [e1, e2, e3, e4, e5, e6, e7, e8, e9]: [f64; EDGES] =
        std::array::from_fn(|index| edges.get(index).copied().unwrap_or(NO_EDGE));
    let distances = sqlx::query!(
        r#"SELECT (created_at - ?1) / ?3 AS "bucket!: i64",
                  (distance > ?5) + (distance > ?6) + (distance > ?7) + (distance > ?8) + (distance > ?9)
                  + (distance > ?10) + (distance > ?11) + (distance > ?12) + (distance > ?13) AS "bin!: i64",
                  COUNT(*) AS "count!: i64", SUM(distance) AS "sum!: f64"
           FROM predictions INDEXED BY predictions_of_model
           WHERE model = ?4 AND created_at >= ?1 AND created_at < ?2 AND distance IS NOT NULL GROUP BY 1, 2"#,
        from,
        to,
        bucket,
        model.number,
        e1,
        e2,
        e3,
        e4,
        e5,
        e6,
        e7,
        e8,
        e9
    )
    .fetch_all(connection)
    .await?;
    for row in distances {
        let of_bucket = counted.entry(row.bucket).or_default();
        of_bucket.distances.resize(edges.len() + 1, 0);
        let bin = usize::try_from(row.bin).ok().and_then(|bin| of_bucket.distances.get_mut(bin));
        if let Some(count) = bin {
            *count += row.count.cast_unsigned();
        }
        of_bucket.distance_sum += row.sum;
    }
    Ok(counted)
}
