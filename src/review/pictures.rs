//! What is kept of an image's pixels beside its features: a small grey picture, and how bright,
//! varied and sharp it is.

use tch::Kind;

use crate::{
    domain::{dataset::Digest, preprocessing::Preprocessing, review::Photo},
    training::cache::{CachedRecords, Layout},
};

/// Pixels of a side of the small picture.
pub const SIDE: usize = 32;
/// Bytes of the small picture.
const PIXELS: usize = SIDE * SIDE;
/// Bytes of a record: the picture and three numbers.
pub const RECORD: usize = PIXELS + 3 * size_of::<f32>();
/// Changes with what records contain.
const VERSION: u32 = 1;

/// The layout of the records in the cache.
#[must_use]
pub fn layout(preprocessing: &Preprocessing) -> Layout {
    let Preprocessing { version, width, height, .. } = preprocessing;
    Layout {
        name: format!("review-{width}x{height}-v{version}-{VERSION}"),
        shape: vec![RECORD as i64],
        kind: Kind::Uint8,
    }
}

/// What an image shows of light and detail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Light {
    /// Mean brightness, 0 to 255.
    pub mean: f32,
    /// Standard deviation of the brightness.
    pub deviation: f32,
    /// Mean square of the Laplacian over the variance: low without sharp edges.
    pub sharpness: f32,
}

/// The record of an image's prepared pixels, RGB, `[height, width, 3]`.
pub fn write(pixels: &[u8], (width, height): (usize, usize), record: &mut [u8]) {
    let grey: Vec<f32> = pixels
        .as_chunks::<3>()
        .0
        .iter()
        .map(|[red, green, blue]| {
            0.299 * f32::from(*red) + 0.587 * f32::from(*green) + 0.114 * f32::from(*blue)
        })
        .collect();
    shrink(&grey, width, height, &mut record[..PIXELS]);
    let Light { mean, deviation, sharpness } = light(&grey, width, height);
    let numbers = [mean, deviation, sharpness].map(f32::to_le_bytes);
    record[PIXELS..].copy_from_slice(numbers.as_flattened());
}

/// The mean of each of the blocks that the picture is cut into.
fn shrink(grey: &[f32], width: usize, height: usize, small: &mut [u8]) {
    let edge = |place: usize, side: usize| place * side / SIDE;
    for (place, out) in small.iter_mut().enumerate() {
        let (row, column) = (place / SIDE, place % SIDE);
        let columns = edge(column, width)..edge(column + 1, width).max(edge(column, width) + 1);
        let rows = edge(row, height)..edge(row + 1, height).max(edge(row, height) + 1);
        let area = (columns.len() * rows.len()) as f32;
        let sum: f32 = rows.map(|y| grey[y * width..][columns.clone()].iter().sum::<f32>()).sum();
        *out = (sum / area).round() as u8;
    }
}

fn light(grey: &[f32], width: usize, height: usize) -> Light {
    let count = grey.len() as f32;
    let mean = grey.iter().sum::<f32>() / count;
    let variance = grey.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
    let (mut sum, mut places) = (0.0, 0.0_f32);
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            let at = y * width + x;
            let around = grey[at - 1] + grey[at + 1] + grey[at - width] + grey[at + width];
            sum += (around - 4.0 * grey[at]).powi(2);
            places += 1.0;
        }
    }
    let sharpness = sum / places.max(1.0) / variance.max(1.0);
    Light { mean, deviation: variance.sqrt(), sharpness }
}

/// The records of a dataset's images, read where the cache has them.
#[derive(Debug)]
pub struct Pictures {
    records: CachedRecords,
    digests: Vec<Digest>,
}

impl Pictures {
    /// Those of `photos` among the records of the cache, which has all of them.
    #[must_use]
    pub fn new(records: CachedRecords, photos: &[Photo]) -> Self {
        Self { records, digests: photos.iter().map(|photo| photo.sha256).collect() }
    }

    fn record(&self, image: usize) -> &[u8] {
        self.records.record(&self.digests[image])
    }

    /// The small picture of an image, row by row, 0 to 255.
    #[must_use]
    pub fn small(&self, image: usize) -> Vec<f32> {
        self.record(image)[..PIXELS].iter().map(|value| f32::from(*value)).collect()
    }

    /// Its light.
    #[must_use]
    pub fn light(&self, image: usize) -> Light {
        let numbers = self.record(image)[PIXELS..].as_chunks::<4>().0;
        let [mean, deviation, sharpness] =
            [0, 1, 2].map(|place| numbers.get(place).copied().map_or(0.0, f32::from_le_bytes));
        Light { mean, deviation, sharpness }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::training::cache::CacheWriter;

    /// Those in a cache with these records.
    pub(in super::super) fn cached(records: &[Vec<u8>]) -> Pictures {
        let folder = tempfile::tempdir().unwrap();
        let layout =
            Layout { name: "test".to_owned(), shape: vec![RECORD as i64], kind: Kind::Uint8 };
        let mut cache = CacheWriter::open(folder.path(), layout, || Ok(())).unwrap();
        let digests: Vec<Digest> =
            (0..records.len()).map(|place| Digest::of(&place.to_le_bytes())).collect();
        for (digest, record) in digests.iter().zip(records) {
            cache.push(*digest, record).unwrap();
        }
        Pictures { records: cache.finish().unwrap(), digests }
    }

    fn pictures(pixel: impl Fn(usize, usize) -> u8) -> Pictures {
        let pixels: Vec<u8> =
            (0..64 * 64).flat_map(|place| [pixel(place % 64, place / 64); 3]).collect();
        let mut record = vec![0; RECORD];
        write(&pixels, (64, 64), &mut record);
        cached(&[record])
    }

    #[test]
    fn a_record_tells_light_and_detail() {
        let blank = pictures(|_, _| 7).light(0);
        assert!(
            (blank.mean - 7.0).abs() < 0.01 && blank.deviation < 0.01 && blank.sharpness < 0.01
        );
        let sharp = pictures(|x, _| if x % 8 < 4 { 0 } else { 200 }).light(0);
        let soft = pictures(|x, _| (x * 4) as u8).light(0);
        assert!((sharp.mean - 100.0).abs() < 0.1 && sharp.sharpness > 100.0 * soft.sharpness);
        let small = pictures(|x, y| (x + y) as u8).small(0);
        assert_eq!((small[0], small[SIDE * SIDE - 1]), (1.0, 125.0));
    }
}
