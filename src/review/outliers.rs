//! Images that are unlike the rest of a dataset, or that show little.

use super::{nearest::Nearest, pictures::Pictures};
use crate::domain::review::{Oddity, Outlier, Photo};

/// The neighbour whose distance counts: some images of another kind must not vouch for each other.
const RANK: usize = 30;
/// Of a small dataset, a neighbour among the nearest tenth.
const RANK_FRACTION: usize = 10;
/// A distance that so many images exceed is usual: one in twenty.
const TAIL: usize = 20;
/// How far beyond the median a distance is unusual, as a multiple of how far that one is.
const MAX_SPREAD: f64 = 1.6;
/// Brightness of a dark image.
const DARK: f32 = 25.0;
/// Deviation of the brightness of a blank image.
const BLANK: f32 = 6.0;
/// Sharpness of a blurred image.
const BLURRED: f32 = 0.004;
/// Shorter side of a small image, in pixels.
const SMALL: u32 = 64;
/// Small images are listed if at most one in so many is: elsewhere, that is the size of the dataset.
const RARE: usize = 10;
/// Images that are kept.
const MAX_OUTLIERS: usize = 5000;

/// The distance of each image that says how unlike the rest it is.
#[must_use]
pub fn distances(nearest: &Nearest) -> Vec<f64> {
    nearest.distances(RANK.min((nearest.images() / RANK_FRACTION).max(1)))
}

/// The images that are unlike the rest, the farthest first, then those that show little.
#[must_use]
pub fn outliers(photos: &[Photo], distances: &[f64], pictures: &Pictures) -> Vec<Outlier> {
    let limit = limit(distances);
    let is_small = |photo: &Photo| photo.shorter_side < SMALL;
    let small_is_rare =
        photos.iter().filter(|photo| is_small(photo)).count() * RARE <= photos.len();
    let mut found: Vec<Outlier> = (photos.iter().enumerate())
        .filter_map(|(image, photo)| {
            let distance = distances.get(image).copied().unwrap_or(0.0);
            let light = pictures.light(image);
            let blank = light.deviation < BLANK;
            let reasons = [
                (Oddity::Unlike, distance > limit),
                (Oddity::Blank, blank),
                (Oddity::Dark, light.mean < DARK),
                (Oddity::Blurred, !blank && light.sharpness < BLURRED),
                (Oddity::Small, small_is_rare && is_small(photo)),
            ];
            let reasons: Vec<Oddity> =
                reasons.into_iter().filter_map(|(reason, holds)| holds.then_some(reason)).collect();
            (!reasons.is_empty()).then_some(Outlier { image_id: photo.image_id, reasons, distance })
        })
        .collect();
    found.sort_by(|a, b| {
        let unlike = |outlier: &Outlier| outlier.reasons.contains(&Oddity::Unlike);
        unlike(b)
            .cmp(&unlike(a))
            .then(b.distance.total_cmp(&a.distance))
            .then(a.image_id.cmp(&b.image_id))
    });
    found.truncate(MAX_OUTLIERS);
    found
}

/// The distance beyond which an image is unlike the rest. It follows from the upper tail of the distances: as
/// cosine distances have an upper bound, a multiple of their deviation may be beyond it.
fn limit(distances: &[f64]) -> f64 {
    let images = distances.len();
    let middle = ranked(distances, images / 2);
    let spread = ranked(distances, images - images.div_ceil(TAIL)) - middle;
    middle + MAX_SPREAD * spread.max(1e-3)
}

/// The distance of that rank, from 0 for the smallest; 0 if there is none.
fn ranked(distances: &[f64], rank: usize) -> f64 {
    let mut distances = distances.to_vec();
    if rank >= distances.len() {
        return 0.0;
    }
    *distances.select_nth_unstable_by(rank, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            ImageId,
            dataset::{Digest, Split},
        },
        review::pictures::{RECORD, tests::cached},
    };

    #[test]
    fn small_images_are_listed_where_they_are_rare_and_dark_ones_anyway() {
        let small = |number: usize| {
            let photo = |place: usize| Photo {
                image_id: ImageId::new(),
                sha256: Digest::of(b"x"),
                label: Some(0),
                split: Some(Split::Train),
                shorter_side: if place < number { 32 } else { 64 },
            };
            let photos: Vec<Photo> = (0..20).map(photo).collect();
            // All are varied and sharp; the last one is dark.
            let records: Vec<Vec<u8>> = (0..20)
                .map(|place| {
                    let light = [if place == 19 { 5.0_f32 } else { 100.0 }, 50.0, 1.0];
                    let mut record = vec![0; RECORD - 12];
                    record.extend(light.map(f32::to_le_bytes).as_flattened());
                    record
                })
                .collect();
            let found = outliers(&photos, &[0.0; 20], &cached(&records));
            let last = found.last().map(|outlier| outlier.reasons.clone()).unwrap_or_default();
            assert!(last.contains(&Oddity::Dark), "{found:?}");
            found.iter().filter(|outlier| outlier.reasons.contains(&Oddity::Small)).count()
        };
        assert_eq!([0, 2, 3, 20].map(small), [0, 2, 0, 0]);
    }

    #[test]
    fn few_far_values_don_t_move_the_limit() {
        let mut distances: Vec<f64> =
            (0..1000).map(|it| 0.4 + f64::from(it % 100) / 1000.0).collect();
        let before = limit(&distances);
        distances[..20].fill(1.2);
        assert!((limit(&distances) - before).abs() < 0.01 && (0.5..1.0).contains(&before));
    }

    #[test]
    fn images_of_another_kind_are_found_where_distances_are_wide() {
        // Trashnet's, and those of ten photos of cats and dogs in it: in deviations from the median.
        let measured = [
            (0.0, -2.2),
            (0.5, 0.0),
            (0.9, 1.15),
            (0.95, 1.42),
            (0.98, 1.67),
            (0.99, 1.85),
            (1.0, 2.21),
        ];
        let other = [2.23, 2.29, 2.33, 2.36, 2.4, 2.44, 2.5, 2.63, 2.7, 2.79];
        let rest = (0..2524).map(|image| {
            let part = f64::from(image) / 2523.0;
            let at = measured.windows(2).find(|pair| part <= pair[1].0).unwrap();
            at[0].1 + (at[1].1 - at[0].1) * (part - at[0].0) / (at[1].0 - at[0].0)
        });
        let distances: Vec<f64> = rest.chain(other).map(|it| 0.57 + 0.096 * it).collect();
        let limit = limit(&distances);
        let far = |distances: &[f64]| distances.iter().filter(|it| **it > limit).count();
        assert_eq!(far(&distances[..2524]), 0);
        assert!(far(&distances[2524..]) >= 8);
    }

    #[test]
    fn equal_distances_are_not_unusual() {
        let limit = limit(&[0.5; 30]);
        assert!(limit > 0.5 && limit < 0.51);
    }
}
