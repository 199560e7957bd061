//! How far the probabilities of the predicted classes can be trusted.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ScoredSample;

/// Bins of the reliability diagram.
const BINS: usize = 15;

/// Quality of the predicted probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reliability {
    /// Mean cross-entropy.
    pub log_loss: f64,
    /// Brier score, as in scikit-learn's `brier_score_loss`: the mean squared error of the
    /// probability of the second of two classes; of more, of all probabilities of an image together.
    pub brier_score: f64,
    /// Expected calibration error: mean absolute gap between the accuracy and the mean confidence of
    /// a bin, weighted by bin size (Guo et al., 2017).
    pub expected_calibration_error: f64,
    /// 15 bins of equal width; a confidence on an edge belongs to the lower bin.
    pub bins: Vec<ConfidenceBin>,
}

/// One bin of the reliability diagram: the images whose predicted class has about that probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfidenceBin {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Number of images.
    pub count: u64,
    /// Mean probability of the predicted class; null for an empty bin.
    pub mean_confidence: Option<f64>,
    /// Fraction classified correctly; null for an empty bin.
    pub accuracy: Option<f64>,
}

impl Reliability {
    pub(super) fn new(samples: &[ScoredSample]) -> Self {
        let edge = |index: usize| index as f64 / BINS as f64;
        let mut sums = [(0_u64, 0.0, 0.0); BINS];
        let (mut log_loss, mut brier_score) = (0.0, 0.0);
        for sample in samples {
            let probabilities = sample.logits.probabilities();
            let confidence = probabilities.iter().copied().fold(0.0, f64::max);
            let bin = (1..BINS).filter(|&index| edge(index) < confidence).count();
            let (count, confidences, correct) = &mut sums[bin];
            *count += 1;
            *confidences += confidence;
            *correct += f64::from(u8::from(sample.logits.predicted() == sample.label));
            log_loss += sample.logits.loss(sample.label);
            let error = |class: usize, probability: f64| {
                (probability - f64::from(u8::from(class == sample.label))).powi(2)
            };
            let errors = probabilities.iter().enumerate().map(|(class, it)| error(class, *it));
            // Of two classes both errors are the same.
            brier_score +=
                if probabilities.len() == 2 { errors.sum::<f64>() / 2.0 } else { errors.sum() };
        }
        let images = samples.len().max(1) as f64;
        let gaps: f64 =
            sums.iter().map(|(_, confidences, correct)| (confidences - correct).abs()).sum();
        let bins = sums.iter().enumerate().map(|(index, &(count, confidences, correct))| {
            let mean = |sum: f64| (count > 0).then(|| sum / count as f64);
            ConfidenceBin {
                low: edge(index),
                high: edge(index + 1),
                count,
                mean_confidence: mean(confidences),
                accuracy: mean(correct),
            }
        });
        Self {
            log_loss: log_loss / images,
            brier_score: brier_score / images,
            expected_calibration_error: gaps / images,
            bins: bins.collect(),
        }
    }
}
