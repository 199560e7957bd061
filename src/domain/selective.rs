//! Selective classification (Geifman and El-Yaniv, 2017): a model says when it is unsure. Its label
//! may be wrong too often at that confidence, or the image may be unlike all it was trained on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Accuracy of the answers that are not unsure, unless another is chosen.
pub const WANTED_ACCURACY: f64 = 0.95;

/// Fraction of the validation images that may be called unlike the training images.
pub const UNLIKE_SHARE: f64 = 0.02;

/// Points of a coverage curve.
const POINTS: usize = 100;

/// Why a model is unsure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnsureReason {
    /// The probability of the predicted class is below the threshold.
    LowConfidence,
    /// The image is unlike the training images.
    UnlikeTraining,
}

impl UnsureReason {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::LowConfidence, Self::UnlikeTraining];

    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LowConfidence => "low_confidence",
            Self::UnlikeTraining => "unlike_training",
        }
    }
}

/// When a model is unsure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnswerThresholds {
    /// The model is unsure below this probability of the predicted class; null: never.
    pub answer_above: Option<f64>,
    /// The model is unsure above this distance to its training images, 0 to 2; null: never.
    pub unlike_above: Option<f64>,
}

impl AnswerThresholds {
    /// Why the model is unsure of an image, if it is. `distance` is that to the training images.
    #[must_use]
    pub fn reason(self, probability: f64, distance: Option<f64>) -> Option<UnsureReason> {
        if self.unlike_above.zip(distance).is_some_and(|(above, distance)| distance > above) {
            return Some(UnsureReason::UnlikeTraining);
        }
        let is_low = self.answer_above.is_some_and(|threshold| probability < threshold);
        is_low.then_some(UnsureReason::LowConfidence)
    }
}

/// The distance to the training images above which an image is unlike them, from the distances of
/// the validation images, and of training images to the others; `None` without any.
///
/// A few validation images say little of what is rare, so those of training images count with them;
/// alone they may be nearer than new ones, if the network was trained on them.
#[must_use]
pub fn unlike_above(validation: Vec<f64>, train: Vec<f64>) -> Option<f64> {
    let both = [validation.as_slice(), &train].concat();
    let above = [validation, both].map(rarely_exceeded);
    above.into_iter().flatten().max_by(f64::total_cmp)
}

/// The smallest of the distances that at most [`UNLIKE_SHARE`] of them exceed.
fn rarely_exceeded(mut distances: Vec<f64>) -> Option<f64> {
    distances.sort_by(f64::total_cmp);
    let rank = ((1.0 - UNLIKE_SHARE) * distances.len() as f64).ceil() as usize;
    distances.get(rank.clamp(1, distances.len().max(1)) - 1).copied()
}

/// Answers above one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CoveragePoint {
    /// Probability of the predicted class from which on the model answers.
    pub threshold: f64,
    /// Fraction of the images that it answers.
    pub answered: f64,
    /// Accuracy of those answers.
    pub accuracy: f64,
}

/// Accuracy and share of answered images at each threshold, in ascending order. At the first
/// threshold, 0, all images are answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Coverage(pub Vec<CoveragePoint>);

impl Coverage {
    /// The curve of images given by the probability of the predicted class, and whether it is
    /// correct: at each distinct probability.
    #[must_use]
    pub fn new(mut answers: Vec<(f64, bool)>) -> Self {
        answers.sort_by(|a, b| b.0.total_cmp(&a.0));
        let all = answers.len() as f64;
        let (mut answered, mut correct) = (0.0, 0.0);
        let mut points = Vec::new();
        for equal in answers.chunk_by(|a, b| a.0 == b.0) {
            answered += equal.len() as f64;
            correct += equal.iter().filter(|(_, correct)| *correct).count() as f64;
            points.extend(equal.first().map(|(threshold, _)| CoveragePoint {
                threshold: *threshold,
                answered: answered / all,
                accuracy: correct / answered,
            }));
        }
        if let Some(last) = points.last_mut() {
            last.threshold = 0.0;
        }
        points.reverse();
        Self(points)
    }

    /// The lowest threshold whose answers have at least the `wanted` accuracy; 1 where none has.
    #[must_use]
    pub fn threshold(&self, wanted: f64) -> f64 {
        let enough = self.0.iter().find(|point| point.accuracy >= wanted);
        enough.map_or(1.0, |point| point.threshold)
    }

    /// The same with about a hundred points, evenly by their share.
    #[must_use]
    pub fn thinned(&self) -> Self {
        let step = self.0.len().div_ceil(POINTS).max(1);
        Self(self.0.iter().step_by(step).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_good_enough_answers_everything() {
        let all_right = Coverage::new(vec![(0.5, true), (0.6, true), (0.9, true)]);
        assert_eq!(all_right.threshold(0.95), 0.0);
        assert_eq!(all_right.0[0], CoveragePoint { threshold: 0.0, answered: 1.0, accuracy: 1.0 });
    }

    #[test]
    fn otherwise_it_answers_as_many_as_it_can_at_the_wanted_accuracy() {
        let answers = vec![(0.5, false), (0.6, false), (0.7, true), (0.7, false), (0.9, true)];
        let coverage = Coverage::new(answers);
        assert_eq!(coverage.threshold(0.6), 0.7);
        assert_eq!(coverage.threshold(0.95), 0.9);
        assert_eq!(Coverage::new(vec![(0.9, false), (0.8, true)]).threshold(0.95), 1.0);
        assert_eq!(Coverage::default().threshold(0.95), 1.0);
    }

    #[test]
    fn a_long_curve_is_thinned_and_keeps_its_first_point() {
        let answers = (0..10_000).map(|number| (f64::from(number) / 1e4, number % 3 > 0));
        let coverage = Coverage::new(answers.collect());
        let thinned = coverage.thinned();
        assert_eq!((coverage.0.len(), thinned.0.len()), (10_000, 100));
        assert_eq!(coverage.0[0], thinned.0[0]);
    }

    #[test]
    fn two_in_a_hundred_validation_images_may_be_unlike_the_training_images() {
        let distances: Vec<_> = (0..100).map(f64::from).collect();
        assert_eq!(unlike_above(distances.clone(), Vec::new()), Some(97.0));
        assert_eq!(unlike_above(distances, vec![0.0; 100]), Some(97.0));
        assert_eq!(unlike_above(vec![0.4], vec![0.3, 0.5]), Some(0.5));
        assert_eq!(unlike_above(Vec::new(), Vec::new()), None);
    }

    #[test]
    fn each_reason_has_its_threshold() {
        let thresholds = AnswerThresholds { answer_above: Some(0.8), unlike_above: Some(0.5) };
        assert_eq!(thresholds.reason(0.8, Some(0.5)), None);
        assert_eq!(thresholds.reason(0.79, None), Some(UnsureReason::LowConfidence));
        assert_eq!(thresholds.reason(0.1, Some(0.6)), Some(UnsureReason::UnlikeTraining));
        assert_eq!(AnswerThresholds::default().reason(0.1, Some(0.6)), None);
    }
}
