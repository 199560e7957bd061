//! Whether new images are like those that a model was validated on: of any time in the log, and of the last
//! hour for the metrics.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{Error, Journal, RecentDrift};
use crate::{
    domain::{
        Timestamp,
        baseline::Baseline,
        drift::{Counted, Figures},
        logged::LoggedModel,
        model::Model,
        selective::Coverage,
    },
    storage::prediction_counts,
};

/// The time that the metrics are about.
const RECENT: Duration = Duration::from_secs(3600);
/// How long the figures of the last hour are reused.
const REUSE: Duration = Duration::from_secs(15);

/// Predictions of a model over time against its validation split.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Drift {
    /// The model.
    pub model: LoggedModel,
    /// Start of the time.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// End of the time.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// The verdict in a sentence.
    pub detail: String,
    /// All predictions of the time.
    #[serde(flatten)]
    pub figures: Figures,
    /// The same in parts of equal length, oldest first.
    pub buckets: Vec<Bucket>,
}

/// Predictions of a part of the time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = DriftBucket)]
pub struct Bucket {
    /// Start of the part.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Its predictions.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Journal {
    /// The drift of the last `hours`, in as many `buckets`, of a model in the log; `None` if it has no
    /// prediction there.
    ///
    /// # Errors
    /// The log is off, or the database failed.
    pub async fn drift(
        &self,
        reference: &str,
        hours: u32,
        buckets: u32,
    ) -> Result<Option<Drift>, Error> {
        if !self.is_on() {
            return Err(Error::Off);
        }
        self.flush_quietly().await;
        let mut snapshot = self.0.storage.snapshot().await?;
        let Some(model) = prediction_counts::model(&mut snapshot, reference).await? else {
            return Ok(None);
        };
        let (from, to, length) = window(hours, buckets);
        let length = length.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(i64::MAX);
        let counted = prediction_counts::over_time(&mut snapshot, &model, from, to, length).await?;
        let figures = |counted: &Counted| {
            Figures::new(&model.baseline, &model.classes, model.thresholds, counted)
        };
        let mut all = Counted::default();
        counted.values().for_each(|of_bucket| all.add(of_bucket));
        let none = Counted::default();
        let of_bucket = |number| figures(counted.get(&i64::from(number)).unwrap_or(&none));
        Ok(Some(Drift::new(model.model.clone(), (from, to), figures(&all), buckets, of_bucket)))
    }

    /// The drift of a model without predictions.
    #[must_use]
    pub fn no_drift(model: Model, hours: u32, buckets: u32) -> Drift {
        let (from, to, _) = window(hours, buckets);
        let baseline = Baseline {
            images: 0,
            thresholds: model.thresholds,
            coverage: Coverage::default(),
            answers: None,
        };
        let none = Counted::default();
        let figures = Figures::new(&baseline, &model.classes, model.thresholds, &none);
        let of_bucket = |_| figures.clone();
        let model = LoggedModel { id: model.id, name: model.name };
        Drift::new(model, (from, to), figures.clone(), buckets, of_bucket)
    }

    /// The drift of the last hour of each model with a prediction in it, a few seconds old at most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn recent_drift(&self) -> Result<Vec<(LoggedModel, Figures)>, Error> {
        let mut recent = self.0.recent.lock().await;
        let fresh = recent.as_ref().filter(|it| it.computed_at.elapsed() < REUSE);
        if let Some(RecentDrift { figures, .. }) = fresh {
            return Ok(figures.clone());
        }
        let to = Timestamp::now();
        let from = to.checked_sub(RECENT).unwrap_or(Timestamp::MIN);
        let mut snapshot = self.0.storage.snapshot().await?;
        let mut all = Vec::new();
        for model in prediction_counts::recent_models(&mut snapshot, from).await? {
            let counted = prediction_counts::over_time(&mut snapshot, &model, from, to, i64::MAX);
            let counted = counted.await?.remove(&0).unwrap_or_default();
            let figures = Figures::new(&model.baseline, &model.classes, model.thresholds, &counted);
            all.push((model.model, figures));
        }
        *recent = Some(RecentDrift { computed_at: Instant::now(), figures: all.clone() });
        Ok(all)
    }
}

impl Drift {
    fn new(
        model: LoggedModel,
        (from, to): (Timestamp, Timestamp),
        figures: Figures,
        buckets: u32,
        of_bucket: impl Fn(u32) -> Figures,
    ) -> Self {
        let length = to.duration_since(from).unsigned_abs() / buckets.max(1);
        let start = |number| from.checked_add(length * number).unwrap_or(from);
        let parts = (0..buckets)
            .map(|number| Bucket { from: start(number), figures: of_bucket(number) })
            .collect();
        Self { model, from, to, detail: figures.sentence(), figures, buckets: parts }
    }
}

/// The last `hours` until now, and the length of each of their `buckets`.
fn window(hours: u32, buckets: u32) -> (Timestamp, Timestamp, Duration) {
    let all = Duration::from_secs(u64::from(hours) * 3600);
    // A prediction of this very millisecond belongs to it.
    let to = Timestamp::now().checked_add(Duration::from_millis(1)).unwrap_or(Timestamp::MAX);
    let from = to.checked_sub(all).unwrap_or(Timestamp::MIN);
    (from, to, all / buckets.max(1))
}
