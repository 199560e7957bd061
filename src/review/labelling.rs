//! What to label next: the unlabelled images between two classes teach most (Scheffer, Decomain and
//! Wrobel, 2001), and how much that gains.

use std::collections::HashSet;

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use super::classifier::{Classifier, Labelled, most_probable};
use crate::{
    domain::{
        dataset::Split,
        review::{LabellingCurve, Photo, Suggestion, Tested},
    },
    training::failure::StopReason,
};
/// Regularisation of the regression.
const STRENGTH: f64 = 10.0;
/// Labels of the last point of a curve, and of its steps.
const MAX_LABELS: usize = 600;
const STEPS: usize = 10;
/// Images that a curve begins from and is measured on, at least.
const MIN_POOL: usize = 100;
const MIN_TEST: usize = 20;
/// Images that are chosen from and measured on, at most.
const MAX_POOL: usize = 4000;
/// Random choices that the curve of a review is the mean of.
pub const SEEDS: u64 = 3;

/// The unlabelled images among `photos`, those with the least margin first; in the order of their ids if fewer
/// than two classes have images.
#[must_use]
pub fn suggestions(photos: &[Photo], labelled: &Labelled<'_>) -> Vec<Suggestion> {
    let labels = labelled.labels;
    let (rows, unlabelled): (Vec<i64>, Vec<&Photo>) =
        (0..).zip(photos).filter(|(_, photo)| photo.label.is_none()).unzip();
    if unlabelled.is_empty() {
        return Vec::new();
    }
    if labels.windows(2).all(|pair| pair[0] == pair[1]) {
        let mut ids: Vec<_> = unlabelled.iter().map(|photo| photo.image_id).collect();
        ids.sort_unstable();
        let unknown =
            |image_id| Suggestion { image_id, suggested: None, probability: 0.0, margin: 0.0 };
        return ids.into_iter().map(unknown).collect();
    }
    let all: Vec<usize> = (0..labels.len()).collect();
    let classifier = labelled.fit(&all, STRENGTH);
    let probabilities = classifier.probabilities(labelled.features, &rows);
    let mut suggestions: Vec<Suggestion> = unlabelled
        .iter()
        .zip(probabilities.chunks_exact(labelled.classes))
        .map(|(photo, probabilities)| {
            let (suggested, probability) = most_probable(probabilities);
            Suggestion {
                image_id: photo.image_id,
                suggested: Some(suggested),
                probability: probability.into(),
                margin: margin(probabilities).into(),
            }
        })
        .collect();
    suggestions.sort_by(|a, b| a.margin.total_cmp(&b.margin).then(a.image_id.cmp(&b.image_id)));
    suggestions
}

/// The probability of the most probable class minus that of the next.
fn margin(probabilities: &[f32]) -> f32 {
    let (best, most) = most_probable(probabilities);
    let others = probabilities.iter().enumerate().filter(|(class, _)| *class != best);
    most - others.map(|(_, probability)| *probability).fold(0.0, f32::max)
}

/// The curve of a dataset: labels of its training images are given step by step, and the accuracy is
/// measured on its test images, or validation images if there are few of them, as the mean of so many random
/// choices. `groups` has the group of each: near-duplicates of those are not learned from. `None` if there
/// are few images. `progress` is called before each step.
///
/// # Errors
/// That of `progress`.
pub fn curve(
    photos: &[Photo],
    labelled: &Labelled<'_>,
    groups: &[usize],
    seeds: u64,
    mut progress: impl FnMut() -> Result<(), StopReason>,
) -> Result<Option<LabellingCurve>, StopReason> {
    let of_split = |split| -> Vec<usize> {
        let all: Vec<usize> =
            (0..photos.len()).filter(|image| photos[*image].split == Some(split)).collect();
        let step = all.len().div_ceil(MAX_POOL).max(1);
        all.into_iter().step_by(step).collect()
    };
    let mut pool = of_split(Split::Train);
    let [test, validation] = [Split::Test, Split::Validation].map(of_split);
    let (split, tested) =
        if test.len() >= MIN_TEST { (Split::Test, test) } else { (Split::Validation, validation) };
    let of_tested: HashSet<usize> = tested.iter().map(|image| groups[*image]).collect();
    pool.retain(|image| !of_tested.contains(&groups[*image]));
    if pool.len() < MIN_POOL || tested.len() < MIN_TEST || labelled.classes < 2 {
        return Ok(None);
    }
    let step = (MAX_LABELS.min(pool.len()) / STEPS).max(1);
    let labels: Vec<usize> = (1..=STEPS).map(|it| it * step).collect();
    let mut means = [vec![0.0; STEPS], vec![0.0; STEPS]];
    for seed in 0..seeds {
        for (means, chooses) in means.iter_mut().zip([true, false]) {
            let mut order = pool.clone();
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
            for (place, given) in labels.iter().enumerate() {
                progress()?;
                let classifier = labelled.fit(&order[..*given], STRENGTH);
                means[place] += accuracy(&classifier, labelled, &tested) / seeds as f64;
                if chooses {
                    let rest = &mut order[*given..];
                    choose(&classifier, labelled, rest);
                }
            }
        }
    }
    let [chosen, random] = means;
    let tested = Some(Tested { split, images: tested.len() });
    Ok(Some(LabellingCurve { labels, chosen, random, tested }))
}

/// Sorts images by their margin, the least first.
fn choose(classifier: &Classifier, labelled: &Labelled<'_>, images: &mut [usize]) {
    let probabilities = labelled.probabilities(classifier, images);
    let margins = probabilities.chunks_exact(labelled.classes).map(margin);
    let mut ranked: Vec<(f32, usize)> = margins.zip(images.iter().copied()).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (place, (_, image)) in images.iter_mut().zip(ranked) {
        *place = image;
    }
}

fn accuracy(classifier: &Classifier, labelled: &Labelled<'_>, tested: &[usize]) -> f64 {
    let probabilities = labelled.probabilities(classifier, tested);
    let rows = probabilities.chunks_exact(labelled.classes);
    let correct = rows
        .zip(tested)
        .filter(|(probabilities, image)| most_probable(probabilities).0 == labelled.labels[**image])
        .count();
    correct as f64 / tested.len() as f64
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::domain::{ImageId, dataset::Digest};

    fn photos(count: usize, of: impl Fn(usize) -> (Option<usize>, Split)) -> Vec<Photo> {
        (0..count)
            .map(|place| {
                let (label, split) = of(place);
                Photo {
                    image_id: ImageId::new(),
                    sha256: Digest::of(b"x"),
                    label,
                    split: label.map(|_| split),
                    shorter_side: 100,
                }
            })
            .collect()
    }

    #[test]
    fn an_image_between_two_classes_teaches_most_and_is_suggested_a_label() {
        let photos = photos(43, |place| ((place < 40).then_some(place % 2), Split::Train));
        let mut values: Vec<f32> = (0..40).map(|place| (place % 2) as f32 * 20.0 - 10.0).collect();
        values.extend([9.0, 0.5, -9.0]);
        let features = Tensor::from_slice(&values).unsqueeze(1);
        let labels: Vec<usize> = (0..40).map(|place| place % 2).collect();
        let rows: Vec<i64> = (0..40).collect();
        let labelled = Labelled { features: &features, rows: &rows, labels: &labels, classes: 2 };
        let found = suggestions(&photos, &labelled);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].image_id, photos[41].image_id);
        let of =
            |place: usize| found.iter().find(|it| it.image_id == photos[place].image_id).unwrap();
        assert_eq!((of(40).suggested, of(42).suggested), (Some(1), Some(0)));
        assert!(of(40).probability > 0.8);
    }

    #[test]
    fn one_class_with_images_suggests_nothing() {
        let photos = photos(6, |place| ((place < 4).then_some(1), Split::Train));
        let features = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unsqueeze(1);
        let (rows, labels) = (&[0, 1, 2, 3], &[1; 4]);
        let labelled = Labelled { features: &features, rows, labels, classes: 2 };
        let found = suggestions(&photos, &labelled);
        let ids: Vec<_> = found.iter().map(|it| it.image_id).collect();
        assert_eq!(ids, [photos[4].image_id, photos[5].image_id]);
        assert!(found.iter().all(|it| it.suggested.is_none()));
    }

    #[test]
    fn a_curve_rises_and_small_datasets_have_none() {
        let make = |count: usize| {
            tch::manual_seed(2);
            let photos = photos(count, |place| {
                (Some(place % 3), if place % 4 == 0 { Split::Test } else { Split::Train })
            });
            let labels: Vec<usize> = (0..count).map(|place| place % 3).collect();
            let classes: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
            let centres = Tensor::from_slice(&classes).one_hot(20).to_kind(Kind::Float) * 3.0;
            let noise = Tensor::randn([count as i64, 20], (Kind::Float, Device::Cpu));
            (photos, labels, centres + noise)
        };
        let (small, labels, features) = make(120);
        let rows: Vec<i64> = (0..800).collect();
        let of = |count| &rows[..count];
        let labelled = Labelled { features: &features, rows: of(120), labels: &labels, classes: 3 };
        let alone: Vec<usize> = (0..800).collect();
        assert_eq!(curve(&small, &labelled, &alone, SEEDS, || Ok(())).unwrap(), None);
        let (photos, labels, features) = make(800);
        let labelled = Labelled { features: &features, rows: of(800), labels: &labels, classes: 3 };
        // Copies of tested images are not learned from: no others are left here.
        let copies: Vec<usize> = (0..800).map(|place| place / 4).collect();
        assert_eq!(curve(&photos, &labelled, &copies, SEEDS, || Ok(())).unwrap(), None);
        let curve = curve(&photos, &labelled, &alone, SEEDS, || Ok(())).unwrap().unwrap();
        assert_eq!(curve.tested, Some(Tested { split: Split::Test, images: 200 }));
        assert_eq!(curve.labels, (1..=10).map(|it| it * 60).collect::<Vec<_>>());
        assert_eq!(curve.chosen[0].to_bits(), curve.random[0].to_bits());
        assert!(curve.random[9] > curve.random[0] && curve.chosen[9] > 0.8);
    }
}
