//! How sure one may be: of the accuracy, and of the probabilities.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ScoredSample;

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// Bins of the reliability curve.
const BINS: usize = 10;

/// Where a share lies, with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Interval {
    /// 0.95.
    pub confidence: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// The score interval (Wilson, 1927) of `hits` out of `count`.
    pub(super) fn wilson(hits: u64, count: u64) -> Self {
        if count == 0 {
            return Self { confidence: 0.95, low: 0.0, high: 1.0 };
        }
        let n = count as f64;
        let (share, z2) = (hits as f64 / n, Z * Z);
        let middle = share + z2 / (2.0 * n);
        let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        let end = |value: f64| (value / (1.0 + z2 / n)).clamp(0.0, 1.0);
        // Of none or of all hits one end is the share itself, but for rounding.
        let (low, high) = (end(middle - half).min(share), end(middle + half).max(share));
        Self { confidence: 0.95, low, high }
    }
}

/// How well the predicted probabilities of the second class agree with its observed frequency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Calibration {
    /// Mean distance between predicted probability and fraction of positives, weighted by the
    /// images of each bin (Naeini et al., 2015).
    pub expected_calibration_error: f64,
    /// Ten bins of equal width; as scikit-learn's `calibration_curve`, a probability on an edge
    /// is of the lower one.
    pub bins: Vec<Bin>,
}

/// The images whose probabilities lie in one range. (Evaluations are kept: the first ones had
/// shorter names.)
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bin {
    /// Where it begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// Images in it.
    pub count: u64,
    /// Their mean probability of the second class; absent in an empty bin.
    #[serde(alias = "probability")]
    pub mean_predicted_probability: Option<f64>,
    /// The share of them that is of the second class; absent in an empty bin.
    #[serde(alias = "share")]
    pub fraction_of_positives: Option<f64>,
}

impl Calibration {
    pub(super) fn new(samples: &[ScoredSample]) -> Self {
        let edge = |index: usize| index as f64 / BINS as f64;
        let mut sums = [(0_u64, 0.0, 0.0); BINS];
        for sample in samples {
            let probability = sample.probability();
            let bin = (1..BINS).filter(|&index| edge(index) < probability).count();
            let (count, probabilities, positives) = &mut sums[bin];
            *count += 1;
            *probabilities += probability;
            *positives += sample.label as f64;
        }
        let distance: f64 =
            sums.iter().map(|(_, predicted, observed)| (predicted - observed).abs()).sum();
        let bins = sums.iter().enumerate().map(|(index, &(count, probabilities, positives))| {
            let mean = |sum: f64| (count > 0).then(|| sum / count as f64);
            Bin {
                low: edge(index),
                high: edge(index + 1),
                count,
                mean_predicted_probability: mean(probabilities),
                fraction_of_positives: mean(positives),
            }
        });
        Self {
            bins: bins.collect(),
            expected_calibration_error: distance / samples.len().max(1) as f64,
        }
    }
}
