//! Images that are unlike the rest of a dataset, or that show little.

use super::{nearest::Nearest, pictures::Pictures};
use crate::domain::review::{Oddity, Outlier, Photo};

/// The neighbour whose distance counts: some images of another kind must not vouch for each other.
const RANK: usize = 30;
/// Of a small dataset, a neighbour among the nearest tenth.
const RANK_FRACTION: usize = 10;
/// How far beyond the median a distance is unusual, in standard deviations of a normal distribution
/// with the same median deviation.
const MAX_DEVIATIONS: f64 = 4.0;
/// The standard deviation of a normal distribution, in median deviations.
const MEDIAN_DEVIATION: f64 = 1.4826;
/// Brightness of a dark image.
const DARK: f32 = 25.0;
/// Deviation of the brightness of a blank image.
const BLANK: f32 = 6.0;
/// Sharpness of a blurred image.
const BLURRED: f32 = 0.004;
/// Shorter side of a small image, in pixels.
const SMALL: u32 = 64;
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
                (Oddity::Small, photo.shorter_side < SMALL),
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

/// The distance beyond which an image is unlike the rest.
fn limit(distances: &[f64]) -> f64 {
    let middle = median(distances.to_vec());
    let deviation = median(distances.iter().map(|distance| (distance - middle).abs()).collect());
    middle + MAX_DEVIATIONS * MEDIAN_DEVIATION * deviation.max(1e-3)
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_far_values_don_t_move_the_limit() {
        let mut distances: Vec<f64> =
            (0..1000).map(|it| 0.4 + f64::from(it % 100) / 1000.0).collect();
        let before = limit(&distances);
        distances[..20].fill(1.2);
        assert!((limit(&distances) - before).abs() < 0.01 && (0.5..1.0).contains(&before));
    }

    #[test]
    fn equal_distances_are_not_unusual() {
        let limit = limit(&[0.5; 30]);
        assert!(limit > 0.5 && limit < 0.51);
    }
}
