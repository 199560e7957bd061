//! How well a model does on a split: everything follows from one list of what it said of each
//! image, so that no number can contradict another.
//!
//! The trainer makes an [`Evaluation`] when training ends; the server keeps and shows it. Numbers
//! agree with scikit-learn's, see `tests/evaluation.rs`.

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

/// An image whose probability of the second class is above this is predicted to be of it.
pub const THRESHOLD: f64 = 0.5;

/// What a model said of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredSample {
    /// The image.
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
        // The form whose exponential can't overflow.
        let small = (-self.logit.abs()).exp();
        if self.logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
    }

    /// Binary cross-entropy, from the logit: exact where the probability has rounded to 0 or 1.
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

/// How well a model does on a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    /// The split.
    pub split: Split,
    /// Its images.
    pub count: u64,
    /// Mean binary cross-entropy.
    pub loss: f64,
    /// Accuracy at `threshold`.
    pub accuracy: f64,
    /// Where the accuracy of all such images would lie, with 95 % confidence.
    pub accuracy_interval: Interval,
    /// [`THRESHOLD`].
    pub threshold: f64,
    /// Counts of predicted classes by true class.
    pub confusion_matrix: ConfusionMatrix,
    /// Precision, recall and F1 of each class, and their means.
    pub report: Report,
    /// Precision against recall of the second class, over all thresholds.
    pub pr_curve: PrCurve,
    /// True against false positives of the second class, over all thresholds.
    pub roc_curve: RocCurve,
    /// How far probabilities can be taken at their word.
    pub calibration: Calibration,
    /// What another threshold, chosen on the validation split, would give.
    pub best_threshold: Option<BestThreshold>,
    /// Misclassified images, most confident first.
    pub misclassified: Vec<Misclassified>,
}

/// The threshold of the highest F1 of the second class on the validation split, and what it gives
/// on the split that is evaluated. The loss knows no threshold: it is the evaluation's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BestThreshold {
    /// The threshold: a probability that the model gave on the validation split.
    pub threshold: f64,
    /// F1 there, on the validation split.
    pub validation_f1: f64,
    /// Mean binary cross-entropy on the evaluated split.
    pub loss: f64,
    /// Accuracy at the threshold on the evaluated split.
    pub accuracy: f64,
}

/// A misclassified image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Misclassified {
    /// The image.
    pub image_id: ImageId,
    /// Its name, while it is still in the dataset; the server adds it.
    #[serde(default)]
    pub file_name: Option<String>,
    /// Its class.
    pub label: String,
    /// The predicted class.
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

    /// The classification report as people know it from scikit-learn.
    #[must_use]
    pub fn as_text(&self) -> String {
        self.report.as_text(&self.confusion_matrix.labels, self.accuracy)
    }
}

/// Evaluates what a model said of the images of `split`, of two classes; the threshold it may
/// serve better at is chosen on what it said of the validation split.
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
