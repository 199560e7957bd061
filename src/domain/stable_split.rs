//! The stable split: 70% training, 15% validation and 15% test, by the content of the images.
//!
//! A hash gives each image a position in `0..100`, and two boundaries cut the positions into the
//! three splits. An upload assigns each image by its position alone, so that it never has to look
//! at, or move, other images. [`stable_splits`] assigns all images of a dataset: by the same
//! positions, but no split of a class stays empty that could have an image.

use super::dataset::{Digest, Sample, Split};

/// Positions below it are training images.
const TRAIN_END: u64 = 70;
/// Positions from [`TRAIN_END`] and below it are validation images, all others test images.
const VALIDATION_END: u64 = 85;

impl Split {
    /// The split of an image that is uploaded without one: 70% training, 15% validation and 15%
    /// test, by the image's own hash, so that the same image is always in the same split.
    #[must_use]
    pub fn by_content(digest: &Digest) -> Self {
        match position(digest) {
            0..TRAIN_END => Self::Train,
            TRAIN_END..VALIDATION_END => Self::Validation,
            _ => Self::Test,
        }
    }
}

/// The split of each image of a dataset, in the order of `samples`; their current splits are not
/// looked at.
///
/// It depends on nothing but the hashes and classes, and it is [`Split::by_content`] wherever that
/// gives each split of a class an image. If it does not (a class with few images), the boundaries
/// of that class are moved by as few images as possible, so that each class with three or more
/// images has one in each split, a class with two has a training and a validation image, and a
/// single image is for training. At most two images of a class stand in like that. Which ones can
/// change when images are added; no other image moves then, and none at all once each split of the
/// class has an image of its own.
#[must_use]
pub fn stable_splits(samples: &[Sample]) -> Vec<Split> {
    let at = |index: usize| position(&samples[index].sha256);
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_unstable_by_key(|&index| (samples[index].label, at(index), samples[index].sha256));
    let mut splits = vec![Split::Train; samples.len()];
    for class in order.chunk_by(|&a, &b| samples[a].label == samples[b].label) {
        let images = class.len();
        let below = |end| class.partition_point(|&index| at(index) < end);
        let train = below(TRAIN_END).clamp(1, images.saturating_sub(2).max(1));
        let validation = below(VALIDATION_END)
            .clamp((train + 1).min(images), images.saturating_sub(1).max(2).min(images));
        class[train..validation].iter().for_each(|&index| splits[index] = Split::Validation);
        class[validation..].iter().for_each(|&index| splits[index] = Split::Test);
    }
    splits
}

/// A number below 100 that depends on nothing but the content of an image.
fn position(digest: &Digest) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&digest.0[..8]);
    u64::from_be_bytes(head) % 100
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::ImageId;

    /// The image of that number; all of them are in training before.
    fn sample(number: u32, label: usize) -> Sample {
        let sha256 = Digest::of(&number.to_be_bytes());
        Sample { image_id: ImageId::new(), sha256, label, split: Split::Train }
    }

    fn splits_by_image(samples: &[Sample]) -> BTreeMap<Digest, Split> {
        samples.iter().map(|sample| sample.sha256).zip(stable_splits(samples)).collect()
    }

    fn count(splits: &[Split], split: Split) -> usize {
        splits.iter().filter(|it| **it == split).count()
    }

    #[test]
    fn content_splits_are_stable_and_near_seventy_fifteen_fifteen() {
        let mut counts = BTreeMap::new();
        for number in 0..10_000_u32 {
            let digest = Digest::of(&number.to_be_bytes());
            assert_eq!(Split::by_content(&digest), Split::by_content(&digest));
            *counts.entry(Split::by_content(&digest)).or_insert(0) += 1;
        }
        assert!((6_800..7_200).contains(&counts[&Split::Train]), "{counts:?}");
        assert!((1_350..1_650).contains(&counts[&Split::Validation]), "{counts:?}");
        assert!((1_350..1_650).contains(&counts[&Split::Test]), "{counts:?}");
    }

    #[test]
    fn one_image_is_for_training_and_two_are_for_training_and_validation() {
        assert_eq!(stable_splits(&[]), []);
        for first in 0..50 {
            assert_eq!(stable_splits(&[sample(first, 0)]), [Split::Train]);
            let two = stable_splits(&[sample(first, 0), sample(first + 1, 0)]);
            let counts = [Split::Train, Split::Validation].map(|split| count(&two, split));
            assert_eq!(counts, [1, 1], "{first}");
        }
    }

    proptest! {
        #[test]
        fn each_class_of_three_images_has_one_in_each_split(
            labels in prop::collection::vec(0..3_usize, 0..40), first in 0..10_000_u32
        ) {
            let samples: Vec<_> =
                (first..).zip(&labels).map(|(number, label)| sample(number, *label)).collect();
            let splits = stable_splits(&samples);
            for label in 0..3 {
                let of_class: Vec<_> = samples.iter().zip(&splits)
                    .filter(|(sample, _)| sample.label == label).collect();
                let stand_ins = of_class.iter()
                    .filter(|(sample, split)| **split != Split::by_content(&sample.sha256));
                prop_assert!(stand_ins.count() <= 2);
                for split in Split::ALL {
                    let has = of_class.iter().any(|(_, it)| **it == split);
                    prop_assert!(has || of_class.len() < 3, "{split} of {label}");
                }
            }
        }

        #[test]
        fn the_order_and_the_earlier_splits_do_not_matter(
            numbers in prop::collection::hash_set(0..10_000_u32, 0..40), shift in 0..40_usize
        ) {
            let mut samples: Vec<_> =
                numbers.iter().map(|number| sample(*number, *number as usize % 2)).collect();
            let before = splits_by_image(&samples);
            let splits = stable_splits(&samples);
            samples.iter_mut().zip(splits).for_each(|(sample, split)| sample.split = split);
            let middle = shift % samples.len().max(1);
            samples.rotate_left(middle);
            prop_assert_eq!(splits_by_image(&samples), before);
        }

        #[test]
        fn images_that_are_added_move_only_stand_ins(
            numbers in prop::collection::hash_set(0..10_000_u32, 1..60), share in 0.0..1.0
        ) {
            let all: Vec<_> = numbers.iter().map(|number| sample(*number, 0)).collect();
            let earlier = &all[..(all.len() as f64 * share) as usize];
            let (before, after) = (splits_by_image(earlier), splits_by_image(&all));
            let own = |digest: &Digest| Split::by_content(digest);
            let moved = before.iter().filter(|(digest, split)| after[digest] != **split);
            for (digest, split) in moved {
                // It stood in before, or it does so now.
                prop_assert!(*split != own(digest) || after[digest] != own(digest));
            }
            let whole = Split::ALL.iter().all(|split| before.keys().any(|it| own(it) == *split));
            if whole {
                prop_assert!(before.iter().all(|(digest, split)| after[digest] == *split));
            }
        }
    }
}
