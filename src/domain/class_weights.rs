//! Weights of classes in the training loss.

use serde::{Deserialize, Serialize};

use super::dataset::Sample;

/// How much each training image counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// All the same.
    #[default]
    None,
    /// Each class the same: an image counts in inverse proportion to the number of images of its
    /// class, and one on average.
    Balanced,
}

impl ClassWeights {
    /// The weight of each of `classes`, for these training images; `None` if all have 1. As
    /// scikit-learn's `compute_class_weight("balanced")`: images / (classes × images of the class).
    #[must_use]
    pub fn of(self, classes: usize, train: &[Sample]) -> Option<Vec<f64>> {
        if self == Self::None {
            return None;
        }
        let mut counts = vec![0_u64; classes];
        for sample in train {
            if let Some(count) = counts.get_mut(sample.label) {
                *count += 1;
            }
        }
        let all = train.len() as f64 / classes as f64;
        Some(counts.into_iter().map(|count| all / count.max(1) as f64).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ImageId,
        dataset::{Digest, Split},
    };

    #[test]
    fn balanced_classes_count_the_same_and_an_image_one_on_average() {
        let sample = |label| Sample {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label,
            split: Split::Train,
        };
        let train: Vec<_> = [0, 0, 0, 0, 0, 0, 1, 1, 2, 2].map(sample).to_vec();
        let weights = ClassWeights::Balanced.of(3, &train).unwrap();
        for (weight, expected) in weights.iter().zip([10.0 / 18.0, 10.0 / 6.0, 10.0 / 6.0]) {
            assert!((weight - expected).abs() < 1e-12);
        }
        let sum: f64 = train.iter().map(|sample| weights[sample.label]).sum();
        assert!((sum - 10.0).abs() < 1e-12);
        assert_eq!(ClassWeights::None.of(3, &train), None);
    }
}
