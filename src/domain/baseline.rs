//! What a model's validation split says about new images: which classes it predicted, how often it was
//! unsure, how far the images were from the training images. Drift is measured against it.

use serde::{Deserialize, Serialize};

use super::selective::{AnswerThresholds, Coverage, UNLIKE_SHARE};

/// Bins of equal share that the distances of the validation images are cut into.
const DISTANCE_BINS: usize = 10;

/// The answers of a model to its validation images, in the card of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationAnswers {
    /// Images that were predicted as each class, in the order of indices.
    pub predicted: Vec<u64>,
    /// Images that the model was unsure of, at its first thresholds.
    pub unsure: u64,
    /// The nine deciles of the distances to the training images, ascending; empty if the model can't
    /// compare images, or of fewer than ten images.
    pub distance_deciles: Vec<f64>,
}

impl ValidationAnswers {
    /// Those of images that were predicted as the class of an index, with a probability. `distances` are
    /// those to the training images, in the same order; empty if there are none.
    #[must_use]
    pub fn new(
        classes: usize,
        answers: &[(usize, f64)],
        distances: &[f64],
        thresholds: AnswerThresholds,
    ) -> Self {
        let mut predicted = vec![0; classes];
        let mut unsure = 0;
        for (index, (class, probability)) in answers.iter().enumerate() {
            if let Some(count) = predicted.get_mut(*class) {
                *count += 1;
            }
            let reason = thresholds.reason(*probability, distances.get(index).copied());
            unsure += u64::from(reason.is_some());
        }
        Self { predicted, unsure, distance_deciles: deciles(distances.to_vec()) }
    }
}

/// The values that one, two, … nine tenths of them do not exceed.
fn deciles(mut distances: Vec<f64>) -> Vec<f64> {
    let count = distances.len();
    if count < DISTANCE_BINS {
        return Vec::new();
    }
    distances.sort_by(f64::total_cmp);
    (1..DISTANCE_BINS)
        .filter_map(|tenth| distances.get((tenth * count).div_ceil(DISTANCE_BINS) - 1).copied())
        .collect()
}

/// What new images are compared with. Models of older versions know less of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Number of validation images.
    pub images: u64,
    /// When the model was unsure of them.
    pub thresholds: AnswerThresholds,
    /// Accuracy by the share of answered images.
    pub coverage: Coverage,
    /// Its answers; `None` for older models.
    pub answers: Option<ValidationAnswers>,
}

/// Bins of the distance to the training images.
#[derive(Debug, Clone, PartialEq)]
pub struct DistanceBins {
    /// The upper edges of all bins but the last, ascending.
    pub edges: Vec<f64>,
    /// The share of the validation images in each bin.
    pub shares: Vec<f64>,
}

impl Baseline {
    /// The share of the validation images that the model is unsure of with `thresholds`; `None` if it
    /// never is. Exact for its first thresholds. For others, and for models of older versions, it is the
    /// sum over both reasons, the most that it can be.
    #[must_use]
    pub fn unsure(&self, thresholds: AnswerThresholds) -> Option<f64> {
        let AnswerThresholds { answer_above, unlike_above } = thresholds;
        if answer_above.is_none() && unlike_above.is_none() || self.images == 0 {
            return None;
        }
        if let Some(answers) = self.answers.as_ref().filter(|_| thresholds == self.thresholds) {
            return Some(answers.unsure as f64 / self.images as f64);
        }
        let low = answer_above.map_or(0.0, |threshold| 1.0 - self.answered(threshold));
        let unlike = unlike_above.map_or(0.0, |above| self.unlike(above));
        Some((low + unlike).min(1.0))
    }

    /// The share of the validation images with a probability of at least `threshold`.
    fn answered(&self, threshold: f64) -> f64 {
        let points = &self.coverage.0;
        let answered = points.iter().find(|point| point.threshold >= threshold);
        match answered {
            Some(point) => point.answered,
            // Above all of a curve; one of an older model has no points.
            None if points.is_empty() => 1.0,
            None => 0.0,
        }
    }

    /// The share of the validation images that are farther from the training images than `above`.
    fn unlike(&self, above: f64) -> f64 {
        if Some(above) == self.thresholds.unlike_above {
            return UNLIKE_SHARE;
        }
        match self.answers.as_ref().map(|answers| answers.distance_deciles.as_slice()) {
            None | Some([]) => UNLIKE_SHARE,
            Some(deciles) => {
                let below = deciles.iter().filter(|decile| **decile <= above).count();
                1.0 - below as f64 / DISTANCE_BINS as f64
            }
        }
    }

    /// The bins of the distances: deciles, or for a model of an older version the two sides of its
    /// threshold. `None` if it can't compare images.
    #[must_use]
    pub fn distances(&self) -> Option<DistanceBins> {
        let deciles = self.answers.as_ref().map(|answers| &answers.distance_deciles);
        if let Some(deciles) = deciles.filter(|deciles| !deciles.is_empty()) {
            let shares = vec![1.0 / DISTANCE_BINS as f64; DISTANCE_BINS];
            return Some(DistanceBins { edges: deciles.clone(), shares });
        }
        let above = self.thresholds.unlike_above?;
        Some(DistanceBins { edges: vec![above], shares: vec![1.0 - UNLIKE_SHARE, UNLIKE_SHARE] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::selective::CoveragePoint;

    const THRESHOLDS: AnswerThresholds =
        AnswerThresholds { answer_above: Some(0.8), unlike_above: Some(0.5) };

    fn baseline(answers: Option<ValidationAnswers>) -> Baseline {
        let point = |threshold, answered| CoveragePoint { threshold, answered, accuracy: 1.0 };
        let coverage = Coverage(vec![point(0.0, 1.0), point(0.8, 0.7), point(0.95, 0.2)]);
        Baseline { images: 20, thresholds: THRESHOLDS, coverage, answers }
    }

    #[test]
    fn the_answers_to_the_validation_images_are_counted() {
        let answers: Vec<_> =
            (0..20_u32).map(|n| ((n % 3 % 2) as usize, 0.705 + f64::from(n) / 100.0)).collect();
        let distances: Vec<_> = (0..20).map(|n| f64::from(n) / 30.0).collect();
        let counted = ValidationAnswers::new(2, &answers, &distances, THRESHOLDS);
        assert_eq!(counted.predicted, [13, 7]);
        // Ten have a probability below 0.8, and the last four are farther away than 0.5.
        assert_eq!(counted.unsure, 14);
        assert_eq!(counted.distance_deciles.len(), 9);
        assert_eq!(counted.distance_deciles[4], 9.0 / 30.0);
        assert!(ValidationAnswers::new(2, &[], &[], THRESHOLDS).distance_deciles.is_empty());
    }

    #[test]
    fn the_share_of_unsure_answers_is_exact_or_the_most_that_it_can_be() {
        let answers = ValidationAnswers {
            predicted: vec![10, 10],
            unsure: 3,
            distance_deciles: (1..10).map(|tenth| f64::from(tenth) / 10.0).collect(),
        };
        let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-9, "{a:?} {b}");
        close(baseline(Some(answers.clone())).unsure(THRESHOLDS), 0.15);
        close(baseline(None).unsure(THRESHOLDS), 0.3 + UNLIKE_SHARE);
        let changed = AnswerThresholds { answer_above: None, unlike_above: Some(0.8) };
        close(baseline(Some(answers.clone())).unsure(changed), 0.2);
        close(
            baseline(None).unsure(AnswerThresholds { answer_above: Some(1.0), unlike_above: None }),
            1.0,
        );
        assert_eq!(baseline(Some(answers)).unsure(AnswerThresholds::default()), None);
    }

    #[test]
    fn an_older_model_knows_one_distance() {
        assert_eq!(baseline(None).distances().unwrap().edges, [0.5]);
        let mut cnn = baseline(None);
        cnn.thresholds.unlike_above = None;
        assert_eq!(cnn.distances(), None);
    }
}
