//! Confidence interval of the accuracy, and calibration of the probabilities.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ConfidenceBin, Reliability, ScoredSample, curves::Score};

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// Bins of the reliability curve.
const BINS: usize = 10;

/// 95% confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Interval {
    /// Confidence level: 0.95.
    pub confidence: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {
    /// The score interval (Wilson, 1927) of `hits` out of `count`.
    #[must_use]
    pub fn wilson(hits: u64, count: u64) -> Self {
        if count == 0 {
            return Self { confidence: 0.95, low: 0.0, high: 1.0 };
        }
        let n = count as f64;
        let (share, z2) = (hits as f64 / n, Z * Z);
        let middle = share + z2 / (2.0 * n);
        let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        let end = |value: f64| (value / (1.0 + z2 / n)).clamp(0.0, 1.0);
        // With no hits or only hits, one bound is the proportion itself, except for rounding.
        let (low, high) = (end(middle - half).min(share), end(middle + half).max(share));
        Self { confidence: 0.95, low, high }
    }
}

/// Calibration of the predicted probabilities: of the second of two classes; of more, of the predicted
/// class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Calibration {
    /// Expected calibration error: mean absolute gap between predicted and observed frequency,
    /// weighted by bin size (Naeini et al., 2015).
    pub expected_calibration_error: f64,
    /// Bins of equal width, ten of them for two classes; as in scikit-learn's `calibration_curve`, a
    /// probability on an edge belongs to the lower bin.
    pub bins: Vec<Bin>,
    /// The temperature that the logits are divided by, chosen on the validation split; null for
    /// models that have none.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// The probabilities of the predicted classes as the model gives them; null in evaluations of
    /// older versions.
    #[serde(default)]
    pub scaled: Option<Reliability>,
    /// The same without the temperature.
    #[serde(default)]
    pub raw: Option<Reliability>,
}

/// One bin of the reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bin {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Number of images.
    pub count: u64,
    /// Mean predicted probability; null for an empty bin.
    #[serde(alias = "probability")]
    pub mean_predicted_probability: Option<f64>,
    /// Fraction of images that are of that class; null for an empty bin.
    #[serde(alias = "share")]
    pub fraction_of_positives: Option<f64>,
}

impl Calibration {
    /// That of a model whose logits were `raw` before they were multiplied by `factor`.
    pub(super) fn new(samples: &[ScoredSample], raw: &[ScoredSample], factor: f64) -> Self {
        let [scaled, raw] = [samples, raw].map(Reliability::new);
        let second_class: Option<Vec<Score>> = samples.iter().map(of_second_class).collect();
        let (bins, expected_calibration_error) = match second_class {
            Some(scores) => of_scores(&scores),
            None => {
                let bin = |bin: &ConfidenceBin| Bin {
                    low: bin.low,
                    high: bin.high,
                    count: bin.count,
                    mean_predicted_probability: bin.mean_confidence,
                    fraction_of_positives: bin.accuracy,
                };
                (scaled.bins.iter().map(bin).collect(), scaled.expected_calibration_error)
            }
        };
        Self {
            bins,
            expected_calibration_error,
            temperature: Some(factor.recip()),
            scaled: Some(scaled),
            raw: Some(raw),
        }
    }
}

/// The probability of the second of two classes; `None` if there are more.
fn of_second_class(sample: &ScoredSample) -> Option<Score> {
    match *sample.logits.probabilities() {
        [_, second] => Some((second, sample.label == 1)),
        _ => None,
    }
}

/// The bins of these probabilities, and their expected calibration error.
fn of_scores(scores: &[Score]) -> (Vec<Bin>, f64) {
    let edge = |index: usize| index as f64 / BINS as f64;
    let mut sums = [(0_u64, 0.0, 0.0); BINS];
    for (probability, positive) in scores {
        let bin = (1..BINS).filter(|&index| edge(index) < *probability).count();
        let (count, probabilities, positives) = &mut sums[bin];
        *count += 1;
        *probabilities += probability;
        *positives += f64::from(u8::from(*positive));
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
    (bins.collect(), distance / scores.len().max(1) as f64)
}
