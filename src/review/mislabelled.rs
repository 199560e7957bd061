//! Which labels are probably wrong: confident learning (Northcutt, Jiang and Chuang, 2021) on
//! out-of-sample probabilities, by cross-validation of a regression on features.

use std::collections::{HashMap, HashSet};

use super::classifier::{Labelled, most_probable};
use crate::{
    domain::review::{Photo, Suspect},
    training::failure::StopReason,
};

/// Folds of the cross-validation.
const FOLDS: usize = 5;
/// Regularisation of the regression: wrong labels must not be learned by heart.
const STRENGTH: f64 = 30.0;
/// Suspects that are kept.
const MAX_SUSPECTS: usize = 5000;
/// A class of fewer images, near-duplicates counted as one, is too small to be learned from a part of
/// them.
const MIN_CLASS: usize = 5;

/// What the out-of-sample probabilities of labelled images say.
#[derive(Debug)]
pub struct OutOfSample {
    of_images: Vec<Found>,
    /// Images of each class, near-duplicates counted as one.
    of_classes: Vec<usize>,
}

/// What the out-of-sample probabilities of an image say.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// The probability of its label.
    of_label: f32,
    /// The most probable class.
    best: usize,
    /// Its probability.
    of_best: f32,
}

impl OutOfSample {
    /// Of these images, each by a regression that was solved without its fold. Folds take turns
    /// through the images of each class. `groups` has the group of each: near-duplicates are in one fold,
    /// since a copy with the same wrong label would vouch for it. `progress` is called with the number of
    /// folds done.
    ///
    /// # Errors
    /// That of `progress`.
    pub fn of(
        labelled: &Labelled<'_>,
        groups: &[usize],
        mut progress: impl FnMut(usize) -> Result<(), StopReason>,
    ) -> Result<Self, StopReason> {
        let (count, classes) = (labelled.labels.len(), labelled.classes);
        let mut seen = vec![0_usize; classes];
        let mut of_groups: HashMap<usize, usize> = HashMap::new();
        let folds: Vec<usize> = (labelled.labels.iter().zip(groups))
            .map(|(label, group)| {
                *of_groups.entry(*group).or_insert_with(|| {
                    seen[*label] += 1;
                    (seen[*label] + label) % FOLDS
                })
            })
            .collect();
        let mut of_classes = vec![0; classes];
        let distinct: HashSet<_> = labelled.labels.iter().zip(groups).collect();
        for (label, _) in distinct {
            of_classes[*label] += 1;
        }
        // An image that can't be judged, since all are in one fold, is not doubted.
        let undoubted = |label: &usize| Found { of_label: 1.0, best: *label, of_best: 1.0 };
        let mut of_images: Vec<Found> = labelled.labels.iter().map(undoubted).collect();
        for fold in 0..FOLDS {
            progress(fold)?;
            let (tested, train): (Vec<usize>, Vec<usize>) =
                (0..count).partition(|image| folds[*image] == fold);
            if tested.is_empty() || train.is_empty() {
                continue;
            }
            let found = labelled.probabilities(&labelled.fit(&train, STRENGTH), &tested);
            for (image, row) in tested.iter().zip(found.chunks_exact(classes)) {
                let (best, of_best) = most_probable(row);
                of_images[*image] = Found { of_label: row[labelled.labels[*image]], best, of_best };
            }
        }
        Ok(Self { of_images, of_classes })
    }

    /// The probability of each image's own label: low where it is wrong.
    #[must_use]
    pub fn self_confidence(&self) -> Vec<f32> {
        self.of_images.iter().map(|found| found.of_label).collect()
    }

    /// The images whose label is not the most probable class, the least probable label first, and
    /// the estimated number of wrong labels: of images that are as probable in another class as the
    /// images of that class are on average.
    #[must_use]
    pub fn suspects(&self, photos: &[Photo], labels: &[usize]) -> (Vec<Suspect>, u64) {
        let mut of_class = vec![(0_usize, 0.0_f64); self.of_classes.len()];
        for (found, label) in self.of_images.iter().zip(labels) {
            of_class[*label].0 += 1;
            of_class[*label].1 += f64::from(found.of_label);
        }
        let average: Vec<f64> =
            of_class.iter().map(|(images, sum)| sum / (*images).max(1) as f64).collect();
        let mut wrong = 0;
        let mut suspects = Vec::new();
        for ((found, photo), label) in self.of_images.iter().zip(photos).zip(labels) {
            if self.of_classes[*label] < MIN_CLASS || found.best == *label {
                continue;
            }
            wrong += u64::from(f64::from(found.of_best) >= average[found.best]);
            suspects.push(Suspect {
                image_id: photo.image_id,
                label: *label,
                probability: found.of_label.into(),
                suggested: found.best,
                suggested_probability: found.of_best.into(),
            });
        }
        suspects.sort_by(|a, b| {
            a.probability.total_cmp(&b.probability).then(a.image_id.cmp(&b.image_id))
        });
        suspects.truncate(MAX_SUSPECTS);
        (suspects, wrong)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;
    use crate::domain::{
        ImageId,
        dataset::{Digest, Split},
    };

    /// Images of `classes` that are far apart, every tenth with the label of the next class.
    fn faulty(classes: usize) -> (Vec<Photo>, Vec<usize>, Tensor) {
        tch::manual_seed(5);
        let count = 60 * classes;
        let truth: Vec<usize> = (0..count).map(|image| image % classes).collect();
        let noise = Tensor::randn([count as i64, 8], (Kind::Float, tch::Device::Cpu));
        let places: Vec<i64> = truth.iter().map(|label| *label as i64).collect();
        let centres = Tensor::from_slice(&places).one_hot(8).to_kind(Kind::Float) * 12.0;
        let labels: Vec<usize> = (truth.iter().enumerate())
            .map(|(image, label)| if image % 10 == 0 { (label + 1) % classes } else { *label })
            .collect();
        (labels.iter().map(photo).collect(), labels, noise + centres)
    }

    fn photo(label: &usize) -> Photo {
        Photo {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label: Some(*label),
            split: Some(Split::Train),
            shorter_side: 100,
        }
    }

    /// Each image is a group of its own.
    fn alone(labels: &[usize]) -> Vec<usize> {
        (0..labels.len()).collect()
    }

    #[test]
    fn wrong_labels_are_found_and_counted_with_what_they_look_like() {
        for classes in [2, 3] {
            let (photos, labels, features) = faulty(classes);
            let rows: Vec<i64> = (0..labels.len() as i64).collect();
            let labelled = Labelled { features: &features, rows: &rows, labels: &labels, classes };
            let found = OutOfSample::of(&labelled, &alone(&labels), |_| Ok(())).unwrap();
            let (suspects, wrong) = found.suspects(&photos, &labels);
            let expected = photos.len() / 10;
            // Some are less sure than the average of their class.
            assert!((expected / 3..=expected).contains(&(wrong as usize)), "{wrong}");
            for suspect in &suspects[..expected] {
                let image = photos.iter().position(|it| it.image_id == suspect.image_id).unwrap();
                assert_eq!(image % 10, 0);
                assert_eq!(suspect.suggested, image % classes);
                assert!(suspect.probability < 0.5 && suspect.suggested_probability > 0.5);
            }
        }
    }

    #[test]
    fn a_class_of_few_images_is_not_judged() {
        let (photos, mut labels, features) = faulty(2);
        for label in &mut labels[..4] {
            *label = 2;
        }
        let rows: Vec<i64> = (0..labels.len() as i64).collect();
        let labelled = Labelled { features: &features, rows: &rows, labels: &labels, classes: 3 };
        let found = OutOfSample::of(&labelled, &alone(&labels), |_| Ok(())).unwrap();
        let (suspects, _) = found.suspects(&photos, &labels);
        assert!(suspects.iter().all(|suspect| suspect.label != 2));
    }

    /// Forty images of each of two classes, and five copies of one of the first, with this label.
    fn copied(label: usize) -> (Vec<Photo>, Vec<usize>, Tensor, Vec<usize>) {
        let labels: Vec<usize> = (0..80).map(|image| image % 2).chain([label; 5]).collect();
        // The second feature is that of the copies alone: a regression learns their label by it.
        let place = |image: usize| match image {
            80.. => [10.0, 30.0],
            _ if image.is_multiple_of(2) => [10.0, 0.0],
            _ => [-10.0, 0.0],
        };
        let places: Vec<f32> = (0..85).flat_map(place).collect();
        let features = Tensor::from_slice(&places).reshape([85, 2]);
        let groups = (0..80).chain([80; 5]).collect();
        (labels.iter().map(photo).collect(), labels, features, groups)
    }

    #[test]
    fn copies_with_the_same_wrong_label_don_t_vouch_for_each_other() {
        let (photos, labels, features, groups) = copied(1);
        let rows: Vec<i64> = (0..labels.len() as i64).collect();
        let labelled = Labelled { features: &features, rows: &rows, labels: &labels, classes: 2 };
        let listed = |groups: &[usize]| {
            let found = OutOfSample::of(&labelled, groups, |_| Ok(())).unwrap();
            let (suspects, _) = found.suspects(&photos, &labels);
            let mut ids: Vec<ImageId> = suspects.iter().map(|it| it.image_id).collect();
            ids.sort_unstable();
            ids
        };
        let copies: Vec<ImageId> = photos[80..].iter().map(|photo| photo.image_id).collect();
        assert_eq!(listed(&groups), copies);
        assert!(listed(&alone(&labels)).is_empty());
    }

    #[test]
    fn a_class_of_copies_of_one_shot_and_images_in_one_fold_are_not_judged() {
        let (photos, labels, features, groups) = copied(2);
        let rows: Vec<i64> = (0..labels.len() as i64).collect();
        let labelled = Labelled { features: &features, rows: &rows, labels: &labels, classes: 3 };
        for groups in [&*groups, &[0; 85]] {
            let found = OutOfSample::of(&labelled, groups, |_| Ok(())).unwrap();
            assert_eq!(found.suspects(&photos, &labels), (Vec::new(), 0));
        }
    }
}
