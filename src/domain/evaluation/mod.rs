//! Evaluation of a model on a split: every number is computed from one list of the outputs for each
//! image, so that no two can contradict each other.
//!
//! The trainer computes an [`Evaluation`] when training ends; the server stores and shows it.
//! Numbers agree with scikit-learn's, see `tests/evaluation.rs`.

mod calibration;
mod curves;
mod report;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ImageId,
    dataset::{Classes, Split},
    metrics::SplitMetrics,
};

pub use self::{
    calibration::{Bin, Calibration, Interval},
    curves::{PrCurve, RocCurve},
    report::{ClassScore, ConfusionMatrix, Report},
};

/// Decision threshold: an image whose probability is above it is predicted as the second class.
pub const THRESHOLD: f64 = 0.5;

/// A model's output for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredSample {
    /// Id of the image.
    pub image_id: ImageId,
    /// Its true class: 0 or 1.
    pub label: usize,
    /// The logit of the second class.
    pub logit: f64,
}

impl ScoredSample {
    /// Probability of the second class, 0 to 1.
    #[must_use]
    pub fn probability(&self) -> f64 {
        // The variant whose exponential can't overflow.
        let small = (-self.logit.abs()).exp();
        if self.logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
    }

    /// Binary cross-entropy, from the logit: exact even if the probability has rounded to 0 or 1.
    #[must_use]
    pub fn loss(&self) -> f64 {
        let towards_the_other = if self.label == 1 { -self.logit } else { self.logit };
        towards_the_other.max(0.0) + (-towards_the_other.abs()).exp().ln_1p()
    }

    fn predicted(&self, threshold: f64) -> usize {
        usize::from(self.probability() >= threshold)
    }

    fn is_correct(&self, threshold: f64) -> bool {
        self.predicted(threshold) == self.label
    }
}

/// Mean loss, and accuracy at [`THRESHOLD`].
#[must_use]
pub fn split_metrics(samples: &[ScoredSample]) -> SplitMetrics {
    let images = samples.len().max(1) as f64;
    SplitMetrics {
        count: samples.len() as u64,
        loss: samples.iter().map(ScoredSample::loss).sum::<f64>() / images,
        accuracy: accuracy(samples, THRESHOLD),
    }
}

fn accuracy(samples: &[ScoredSample], threshold: f64) -> f64 {
    let right = samples.iter().filter(|sample| sample.is_correct(threshold)).count();
    right as f64 / samples.len().max(1) as f64
}

/// Evaluation of a model on one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    /// Split.
    pub split: Split,
    /// Number of images.
    pub count: u64,
    /// Mean binary cross-entropy.
    pub loss: f64,
    /// Accuracy at `threshold`.
    pub accuracy: f64,
    /// 95% confidence interval of the accuracy (Wilson).
    pub accuracy_interval: Interval,
    /// Decision threshold (0.5).
    pub threshold: f64,
    /// Confusion matrix.
    pub confusion_matrix: ConfusionMatrix,
    /// Classification report: precision, recall and F1 per class, with averages.
    pub report: Report,
    /// Precision–recall curve of the positive (second) class.
    pub pr_curve: PrCurve,
    /// ROC curve of the positive (second) class.
    pub roc_curve: RocCurve,
    /// Calibration of the predicted probabilities.
    pub calibration: Calibration,
    /// Result at the threshold with the best validation F1.
    pub best_threshold: Option<BestThreshold>,
    /// Misclassified images, most confident first.
    pub misclassified: Vec<Misclassified>,
}

/// The threshold with the best F1 of the positive class on the validation split, and its result on
/// the evaluated split. The loss does not depend on the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BestThreshold {
    /// Decision threshold: a predicted probability of the validation split.
    pub threshold: f64,
    /// F1 at the threshold on the validation split.
    pub validation_f1: f64,
    /// Mean binary cross-entropy on the evaluated split.
    pub loss: f64,
    /// Accuracy at the threshold on the evaluated split.
    pub accuracy: f64,
}

/// A misclassified image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Misclassified {
    /// Id of the image.
    pub image_id: ImageId,
    /// File name; null if the image was removed.
    #[serde(default)]
    pub file_name: Option<String>,
    /// True class.
    pub label: String,
    /// Predicted class.
    pub predicted: String,
    /// Probability of the predicted class.
    pub probability: f64,
}

impl Evaluation {
    /// Count, loss and accuracy.
    #[must_use]
    pub const fn metrics(&self) -> SplitMetrics {
        SplitMetrics { count: self.count, loss: self.loss, accuracy: self.accuracy }
    }

    /// The classification report in the format of scikit-learn.
    #[must_use]
    pub fn as_text(&self) -> String {
        self.report.as_text(&self.confusion_matrix.labels, self.accuracy)
    }
}

/// Evaluates a model's outputs for the images of `split`, of two classes; the best threshold is
/// chosen on its outputs for the validation split.
#[must_use]
pub fn evaluate(
    split: Split,
    classes: &Classes,
    samples: &[ScoredSample],
    validation: &[ScoredSample],
) -> Evaluation {
    let SplitMetrics { count, loss, accuracy } = split_metrics(samples);
    let labels: Vec<String> = classes.names().iter().map(ToString::to_string).collect();
    let confusion_matrix = ConfusionMatrix::new(labels, samples);
    Evaluation {
        split,
        count,
        loss,
        accuracy,
        accuracy_interval: Interval::wilson(confusion_matrix.correct(), count),
        threshold: THRESHOLD,
        report: Report::new(&confusion_matrix),
        pr_curve: PrCurve::new(samples),
        roc_curve: RocCurve::new(samples),
        calibration: Calibration::new(samples),
        best_threshold: best_threshold(validation, samples),
        misclassified: misclassified(&confusion_matrix.labels, samples),
        confusion_matrix,
    }
}

fn best_threshold(validation: &[ScoredSample], samples: &[ScoredSample]) -> Option<BestThreshold> {
    let (threshold, validation_f1) = PrCurve::new(validation).best_f1()?;
    Some(BestThreshold {
        threshold,
        validation_f1,
        loss: split_metrics(samples).loss,
        accuracy: accuracy(samples, threshold),
    })
}

fn misclassified(labels: &[String], samples: &[ScoredSample]) -> Vec<Misclassified> {
    let name = |class: usize| labels.get(class).cloned().unwrap_or_default();
    let wrong = samples.iter().filter(|sample| !sample.is_correct(THRESHOLD));
    let mut wrong: Vec<Misclassified> = wrong
        .map(|sample| Misclassified {
            image_id: sample.image_id,
            file_name: None,
            label: name(sample.label),
            predicted: name(sample.predicted(THRESHOLD)),
            probability: sample.probability().max(1.0 - sample.probability()),
        })
        .collect();
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    wrong
}
