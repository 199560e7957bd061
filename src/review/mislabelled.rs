//! Which labels are probably wrong: confident learning (Northcutt, Jiang and Chuang, 2021) on
//! out-of-sample probabilities, by cross-validation of a regression on features.

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
/// A class of fewer images is too small to be learned from a part of them.
const MIN_CLASS: usize = 5;

/// What the out-of-sample probabilities of labelled images say.
#[derive(Debug)]
pub struct OutOfSample {
    of_images: Vec<Found>,
    classes: usize,
}

/// What the out-of-sample probabilities of an image say.
#[derive(Debug, Clone, Copy, Default)]
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
    /// through the images of each class. `progress` is called with the number of folds done.
    ///
    /// # Errors
    /// That of `progress`.
    pub fn of(
        labelled: &Labelled<'_>,
        mut progress: impl FnMut(usize) -> Result<(), StopReason>,
    ) -> Result<Self, StopReason> {
        let (count, classes) = (labelled.labels.len(), labelled.classes);
        let mut seen = vec![0; classes];
        let folds: Vec<usize> = labelled
            .labels
            .iter()
            .map(|label| {
                seen[*label] += 1;
                (seen[*label] + label) % FOLDS
            })
            .collect();
        let mut of_images = vec![Found::default(); count];
        for fold in 0..FOLDS {
            progress(fold)?;
            let (tested, train): (Vec<usize>, Vec<usize>) =
                (0..count).partition(|image| folds[*image] == fold);
            if tested.is_empty() || train.is_empty() {
                continue;
            }
            let found = labelled.fit(&train, STRENGTH).probabilities(labelled.features, &tested);
            for (image, row) in tested.iter().zip(found.chunks_exact(classes)) {
                let (best, of_best) = most_probable(row);
                of_images[*image] = Found { of_label: row[labelled.labels[*image]], best, of_best };
            }
        }
        Ok(Self { of_images, classes })
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
        let mut of_class = vec![(0_usize, 0.0_f64); self.classes];
        for (found, label) in self.of_images.iter().zip(labels) {
            of_class[*label].0 += 1;
            of_class[*label].1 += f64::from(found.of_label);
        }
        let average: Vec<f64> =
            of_class.iter().map(|(images, sum)| sum / (*images).max(1) as f64).collect();
        let mut wrong = 0;
        let mut suspects = Vec::new();
        for ((found, photo), label) in self.of_images.iter().zip(photos).zip(labels) {
            if of_class[*label].0 < MIN_CLASS || found.best == *label {
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
        let photo = |label: &usize| Photo {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label: Some(*label),
            split: Some(Split::Train),
            shorter_side: 100,
        };
        (labels.iter().map(photo).collect(), labels, noise + centres)
    }

    #[test]
    fn wrong_labels_are_found_and_counted_with_what_they_look_like() {
        for classes in [2, 3] {
            let (photos, labels, features) = faulty(classes);
            let labelled = Labelled { features: &features, labels: &labels, classes };
            let found = OutOfSample::of(&labelled, |_| Ok(())).unwrap();
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
        let labelled = Labelled { features: &features, labels: &labels, classes: 3 };
        let found = OutOfSample::of(&labelled, |_| Ok(())).unwrap();
        let (suspects, _) = found.suspects(&photos, &labels);
        assert!(suspects.iter().all(|suspect| suspect.label != 2));
    }
}
