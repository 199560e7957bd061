//! Cross-validation: the accuracy of a small dataset, measured on all its images.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Interval;
use crate::domain::dataset::Sample;

/// Datasets of more images have a test split that says enough.
const MAX_IMAGES: usize = 500;
/// Of images times classes: the work grows with both, and is to take seconds.
const MAX_WORK: usize = 1000;
/// As many as the smallest class has images, at most.
const MAX_FOLDS: usize = 5;
/// One to train on, one to validate and one to test.
const MIN_FOLDS: usize = 3;

/// Accuracy by cross-validation: the images are cut into folds, and each fold is classified by a
/// model that was trained without it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CrossValidation {
    /// Number of folds, and of models trained.
    pub folds: u64,
    /// Number of images: those of all splits.
    pub count: u64,
    /// Correctly classified images.
    pub correct: u64,
    /// Their fraction.
    pub accuracy: f64,
    /// 95% confidence interval of the accuracy (Wilson).
    pub accuracy_interval: Interval,
}

impl CrossValidation {
    /// That of `correct` images out of `count`.
    #[must_use]
    pub fn new(folds: usize, correct: u64, count: u64) -> Self {
        Self {
            folds: folds as u64,
            count,
            correct,
            accuracy: correct as f64 / count.max(1) as f64,
            accuracy_interval: Interval::wilson(correct, count),
        }
    }
}

/// Cuts the images of a small dataset into folds, each with images of all `classes`; none if there are
/// many images, or too few of some class.
///
/// A fold takes a block of each class in the order of upload: images that were uploaded one after
/// the other, such as the frames of a burst, are alike, and in different folds they would make the
/// accuracy look better than it is.
#[must_use]
pub fn folds(samples: &[Sample], classes: usize) -> Option<Vec<Vec<Sample>>> {
    let mut of_class = vec![Vec::new(); classes];
    for sample in samples {
        of_class.get_mut(sample.label)?.push(*sample);
    }
    let count = of_class.iter().map(Vec::len).min()?.min(MAX_FOLDS);
    let large = samples.len() > MAX_IMAGES || samples.len() * classes > MAX_WORK;
    if large || count < MIN_FOLDS {
        return None;
    }
    let mut folds = vec![Vec::new(); count];
    for mut images in of_class {
        images.sort_by_key(|sample| sample.image_id);
        let all = images.len();
        for (rank, sample) in images.into_iter().enumerate() {
            folds[rank * count / all].push(sample);
        }
    }
    Some(folds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ImageId,
        dataset::{Digest, Split},
    };

    fn samples(counts: &[usize]) -> Vec<Sample> {
        let of = |(label, count): (usize, &usize)| {
            (0..*count).map(move |_| Sample {
                image_id: ImageId::new(),
                sha256: Digest::of(b"x"),
                label,
                split: Split::Train,
            })
        };
        counts.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn each_fold_has_a_block_of_each_class() {
        let samples = samples(&[7, 12]);
        let mut shuffled = samples.clone();
        shuffled.reverse();
        let folds = folds(&shuffled, 2).unwrap();
        assert_eq!(folds.iter().map(Vec::len).collect::<Vec<_>>(), [5, 3, 5, 3, 3]);
        for label in [0, 1] {
            let in_order: Vec<_> =
                folds.iter().flatten().filter(|sample| sample.label == label).collect();
            assert!(in_order.is_sorted_by_key(|sample| sample.image_id));
            assert!(folds.iter().all(|fold| fold.iter().any(|sample| sample.label == label)));
        }
    }

    #[test]
    fn large_datasets_and_tiny_classes_have_none() {
        assert_eq!(folds(&samples(&[3, 9]), 2).map(|folds| folds.len()), Some(3));
        assert_eq!(folds(&samples(&[2, 9]), 2), None);
        assert_eq!(folds(&samples(&[3, 9]), 3), None);
        assert_eq!(folds(&samples(&[250, 251]), 2), None);
        assert_eq!(folds(&samples(&[10; 10]), 10).map(|folds| folds.len()), Some(5));
        assert_eq!(folds(&samples(&[10; 11]), 11), None);
        assert_eq!(folds(&[], 0), None);
    }

    #[test]
    fn its_accuracy_has_an_interval() {
        let result = CrossValidation::new(5, 45, 50);
        assert!((result.accuracy - 0.9).abs() < 1e-12);
        assert!((result.accuracy_interval.low - 0.786).abs() < 1e-3);
    }
}
