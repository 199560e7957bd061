//! Evaluation of a model on a split: every number is computed from one list of the outputs for each
//! image, so that no two can contradict each other.
//!
//! The trainer computes an [`Evaluation`] when training ends; the server stores and shows it.
//! Numbers agree with scikit-learn's, see `tests/library/evaluation.rs`.

mod calibration;
pub mod cross_validation;
mod curves;
mod one_vs_rest;
mod reliability;
mod report;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::curves::Score;
use super::{
    ImageId,
    dataset::{Classes, Split},
    metrics::SplitMetrics,
    objective::{Logits, Objective},
    selective::{AnswerThresholds, Coverage, UnsureReason},
};

pub use self::{
    calibration::{Bin, Calibration, Interval},
    cross_validation::CrossValidation,
    curves::{PrCurve, RocCurve},
    one_vs_rest::{ClassCurves, Curves, MacroAverages, OneVsRest},
    reliability::{ConfidenceBin, Reliability},
    report::{ClassScore, ConfusionMatrix, Report},
};

/// Decision threshold: an image whose probability is above it is predicted as the second class.
pub const THRESHOLD: f64 = 0.5;

/// A model's output for one image.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredSample {
    /// Id of the image.
    pub image_id: ImageId,
    /// Its true class.
    pub label: usize,
    /// The network's outputs.
    pub logits: Logits,
}

impl ScoredSample {
    /// The predicted class: of two, the second if its probability is at least `threshold`.
    fn predicted(&self, threshold: f64) -> usize {
        match *self.logits.probabilities() {
            [_, second] => usize::from(second >= threshold),
            _ => self.logits.predicted(),
        }
    }

    fn is_correct(&self, threshold: f64) -> bool {
        self.predicted(threshold) == self.label
    }

    /// Whether the label is among the five classes with the highest probabilities.
    fn is_in_top_5(&self) -> bool {
        let own = self.logits.by_class().nth(self.label).unwrap_or(f64::NEG_INFINITY);
        self.logits.by_class().filter(|logit| *logit > own).count() < 5
    }
}

/// Mean loss, and accuracy at [`THRESHOLD`].
#[must_use]
pub fn split_metrics(samples: &[ScoredSample]) -> SplitMetrics {
    let images = samples.len().max(1) as f64;
    SplitMetrics {
        count: samples.len() as u64,
        loss: samples.iter().map(|sample| sample.logits.loss(sample.label)).sum::<f64>() / images,
        accuracy: accuracy(samples, THRESHOLD),
    }
}

/// The ids of the misclassified images, at [`THRESHOLD`].
#[must_use]
pub fn misclassified_ids(samples: &[ScoredSample]) -> Vec<ImageId> {
    let wrong = samples.iter().filter(|sample| !sample.is_correct(THRESHOLD));
    wrong.map(|sample| sample.image_id).collect()
}

fn accuracy(samples: &[ScoredSample], threshold: f64) -> f64 {
    share(samples, |sample| sample.is_correct(threshold))
}

fn share(samples: &[ScoredSample], holds: impl Fn(&ScoredSample) -> bool) -> f64 {
    samples.iter().filter(|sample| holds(sample)).count() as f64 / samples.len().max(1) as f64
}

/// Evaluation of a model on one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    /// Split.
    pub split: Split,
    /// Number of images.
    pub count: u64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Accuracy, of two classes at `threshold`.
    pub accuracy: f64,
    /// 95% confidence interval of the accuracy (Wilson).
    pub accuracy_interval: Interval,
    /// Fraction of images whose class is among the five with the highest probabilities; null for
    /// ten classes or fewer.
    #[serde(default)]
    pub top_5_accuracy: Option<f64>,
    /// Decision threshold of two classes (0.5); null for more.
    pub threshold: Option<f64>,
    /// Confusion matrix.
    pub confusion_matrix: ConfusionMatrix,
    /// Classification report: precision, recall and F1 per class, with averages.
    pub report: Report,
    /// Precision–recall curve of the positive (second) of two classes; null for more.
    pub pr_curve: Option<PrCurve>,
    /// ROC curve of the positive (second) of two classes; null for more.
    pub roc_curve: Option<RocCurve>,
    /// Curves of more than two classes, each against the rest; null for two.
    #[serde(default)]
    pub one_vs_rest: Option<OneVsRest>,
    /// Calibration of the predicted probabilities.
    pub calibration: Calibration,
    /// Result at the threshold with the best validation F1; null for more than two classes.
    pub best_threshold: Option<BestThreshold>,
    /// Accuracy by the share of answered images.
    #[serde(default)]
    pub coverage: Coverage,
    /// How often the model is unsure at its initial thresholds; null for older models.
    #[serde(default)]
    pub unsure: Option<UnsureReport>,
    /// Accuracy by cross-validation; null if there are many images, or for other recipes than
    /// regression on features.
    #[serde(default)]
    pub cross_validation: Option<CrossValidation>,
    /// The weight of each class in the training loss; null if all had the same.
    #[serde(default)]
    pub class_weights: Option<BTreeMap<String, f64>>,
    /// Misclassified images, most confident first.
    pub misclassified: Vec<Misclassified>,
}

/// How often a model is unsure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnsureReport {
    /// The model is unsure below this probability of the predicted class.
    pub answer_above: Option<f64>,
    /// The model is unsure above this distance to its training images.
    pub unlike_above: Option<f64>,
    /// Images that it is unsure of because of the probability.
    pub low_confidence: u64,
    /// Images that it is unsure of because of the distance.
    pub unlike_training: u64,
    /// Accuracy of the other images; null if there are none.
    pub answered_accuracy: Option<f64>,
}

impl UnsureReport {
    /// That of images with these answers and distances to the training images, if they have any.
    #[must_use]
    pub fn new(answers: &[(f64, bool)], distances: &[f64], thresholds: AnswerThresholds) -> Self {
        let AnswerThresholds { answer_above, unlike_above } = thresholds;
        let mut report = Self {
            answer_above,
            unlike_above,
            low_confidence: 0,
            unlike_training: 0,
            answered_accuracy: None,
        };
        let (mut answered, mut correct) = (0_u64, 0_u64);
        for (index, (probability, is_correct)) in answers.iter().enumerate() {
            match thresholds.reason(*probability, distances.get(index).copied()) {
                Some(UnsureReason::LowConfidence) => report.low_confidence += 1,
                Some(UnsureReason::UnlikeTraining) => report.unlike_training += 1,
                None => {
                    answered += 1;
                    correct += u64::from(*is_correct);
                }
            }
        }
        report.answered_accuracy = (answered > 0).then(|| correct as f64 / answered as f64);
        report
    }
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

/// Evaluates a model's outputs for the images of `split`, as they are before they are multiplied by
/// `factor`, the inverse of the temperature. The best threshold of two classes is chosen on its
/// outputs for the validation split.
#[must_use]
pub fn evaluate(
    split: Split,
    classes: &Classes,
    raw: &[ScoredSample],
    validation: &[ScoredSample],
    factor: f64,
) -> Evaluation {
    let [ref samples, ref validation] = [raw, validation].map(|samples| scaled(samples, factor));
    let binary = Objective::of(classes) == Objective::Sigmoid;
    let SplitMetrics { count, loss, accuracy } = split_metrics(samples);
    let labels: Vec<String> = classes.names().iter().map(ToString::to_string).collect();
    let one_vs_rest = (!binary).then(|| OneVsRest::new(&labels, samples));
    let confusion_matrix = ConfusionMatrix::new(labels, samples);
    Evaluation {
        split,
        count,
        loss,
        accuracy,
        accuracy_interval: Interval::wilson(confusion_matrix.correct(), count),
        top_5_accuracy: (classes.names().len() > 10)
            .then(|| share(samples, ScoredSample::is_in_top_5)),
        threshold: binary.then_some(THRESHOLD),
        report: Report::new(&confusion_matrix),
        pr_curve: binary.then(|| PrCurve::new(of_second_class(samples))),
        roc_curve: binary.then(|| RocCurve::new(of_second_class(samples))),
        one_vs_rest,
        calibration: Calibration::new(samples, raw, factor),
        best_threshold: best_threshold(validation, samples).filter(|_| binary),
        coverage: Coverage::new(answers(raw, factor)).thinned(),
        unsure: None,
        cross_validation: None,
        class_weights: None,
        misclassified: misclassified(&confusion_matrix.labels, samples),
        confusion_matrix,
    }
}

/// The probability of the predicted class of each image, whose logits are multiplied by `factor`, and
/// whether it is correct.
#[must_use]
pub fn answers(raw: &[ScoredSample], factor: f64) -> Vec<(f64, bool)> {
    raw.iter()
        .map(|sample| {
            let probabilities = sample.logits.scaled(factor).probabilities();
            let largest = probabilities.into_iter().fold(0.0, f64::max);
            (largest, sample.logits.predicted() == sample.label)
        })
        .collect()
}

fn scaled(samples: &[ScoredSample], factor: f64) -> Vec<ScoredSample> {
    let samples = samples.iter();
    samples.map(|it| ScoredSample { logits: it.logits.scaled(factor), ..it.clone() }).collect()
}

fn of_second_class(samples: &[ScoredSample]) -> Vec<Score> {
    let second = |sample: &ScoredSample| Some(*sample.logits.probabilities().get(1)?);
    samples.iter().filter_map(|it| Some((second(it)?, it.label == 1))).collect()
}

fn best_threshold(validation: &[ScoredSample], samples: &[ScoredSample]) -> Option<BestThreshold> {
    let (threshold, validation_f1) = PrCurve::new(of_second_class(validation)).best_f1()?;
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
            probability: sample.logits.probabilities().into_iter().fold(0.0, f64::max),
        })
        .collect();
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    wrong
}
