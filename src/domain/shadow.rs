//! A shadow: a model that answers requests beside the one in service, unseen by clients. Types, and the
//! budget of processor time.

use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::{ClassName, ModelId, Name, Timestamp, dataset::Digest};

/// Differences that are kept.
pub const MAX_DIFFERENCES: i64 = 1_000;

/// Shadow: model that answers the requests to the model in service, unseen by clients.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Shadow {
    /// Id of the model.
    pub model_id: ModelId,
    /// Name of the model.
    pub model: Name,
    /// Share of this machine's processor time that it may use, 0 to 1.
    pub cpu_fraction: f64,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// What it has done since then.
    #[serde(flatten)]
    pub totals: Totals,
    /// Share of the images for which it predicted the same class as the model in service; null if there
    /// are none.
    pub agreement: Option<f64>,
    /// Why it gets no requests, for example because its file was damaged when the server started; null if it
    /// runs.
    pub error: Option<String>,
}

/// What a shadow has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = ShadowTotals)]
pub struct Totals {
    /// Images that it has classified.
    pub images: u64,
    /// Images for which it predicted the same class as the model in service.
    pub agreed: u64,
    /// Images that it failed on.
    pub failed: u64,
    /// Requests that it skipped, because it was busy or its processor time was used up, or because their
    /// images were larger than 8 MiB.
    pub dropped: u64,
    /// Processor time that it has used, in seconds.
    pub cpu_seconds: f64,
}

impl Totals {
    /// Adds others.
    pub fn add(&mut self, others: Self) {
        self.images += others.images;
        self.agreed += others.agreed;
        self.failed += others.failed;
        self.dropped += others.dropped;
        self.cpu_seconds += others.cpu_seconds;
    }
}

/// Image for which a shadow predicted another class than the model in service.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ShadowDifference)]
pub struct Difference {
    /// Number: later ones have higher numbers.
    pub id: i64,
    /// Time of the prediction.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// SHA-256 of the encoded image, which is not stored.
    pub sha256: Digest,
    /// Id of the model in service.
    pub model_id: ModelId,
    /// Name of the model in service.
    pub model: Name,
    /// What the model in service predicted.
    pub label: ClassName,
    /// Its probability.
    pub probability: f64,
    /// What the shadow predicted.
    pub shadow_label: ClassName,
    /// Its probability.
    pub shadow_probability: f64,
}

/// A share of the processors, which accrues over time and is spent afterwards: on average no more is
/// spent than has accrued.
#[derive(Debug)]
pub struct CpuBudget {
    /// Processor seconds per second.
    rate: f64,
    balance: f64,
    at: Instant,
}

impl CpuBudget {
    /// The share `fraction` of that many processors, from `now` on.
    #[must_use]
    pub fn new(fraction: f64, processors: usize, now: Instant) -> Self {
        let rate = fraction * processors as f64;
        Self { rate, balance: rate, at: now }
    }

    /// Whether there is something left to spend. Unused time of more than a second is lost.
    pub fn is_available(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.balance = (self.balance + elapsed * self.rate).min(self.rate);
        self.at = now;
        self.balance > 0.0
    }

    /// Spends processor time.
    pub fn spend(&mut self, time: Duration) {
        self.balance -= time.as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_spent_than_the_share_of_the_processors() {
        let start = Instant::now();
        for (fraction, cost) in [(0.25, 0.01), (0.25, 0.3), (0.01, 0.05), (1.0, 0.002)] {
            let mut budget = CpuBudget::new(fraction, 4, start);
            let mut spent = 0.0;
            for millisecond in 0..60_000 {
                if budget.is_available(start + Duration::from_millis(millisecond)) {
                    budget.spend(Duration::from_secs_f64(cost));
                    spent += cost;
                }
            }
            let allowed = fraction * 4.0 * 60.0;
            let extra = fraction * 4.0 + cost;
            // Requests of every millisecond could take more than all processors.
            assert!(spent <= allowed + extra + 1e-6, "{fraction} {cost} {spent}");
            let possible = allowed.min(60_000.0 * cost);
            assert!(spent >= possible * 0.95 - extra, "{fraction} {cost} {spent}");
        }
    }

    #[test]
    fn time_that_was_not_used_is_not_saved_up() {
        let start = Instant::now();
        let mut budget = CpuBudget::new(0.5, 2, start);
        let later = start + Duration::from_secs(3600);
        assert!(budget.is_available(later));
        budget.spend(Duration::from_millis(1_100));
        assert!(!budget.is_available(later));
        assert!(budget.is_available(later + Duration::from_millis(200)));
    }
}
