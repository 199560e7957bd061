//! Photos much larger than a network sees are decoded to half their size, and nobody can
//! tell by the answers.

use crate::common::{encode, skip::real_data};
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use pawprint::{
    device::ComputeConfig,
    domain::{
        prediction::Prediction,
        preprocessing::{Normalization, Preprocessing, Resize},
        recipe::Precision,
        selective::AnswerThresholds,
    },
    inference::LoadedModel,
    model_file,
    registry::embedded,
    vision::{self, Limits},
};

const LIMITS: Limits = Limits { max_pixels: 64_000_000 };

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn preprocessing(width: u32, height: u32) -> Preprocessing {
    let (resize, normalise) = (Resize::BilinearAntialiased, Normalization::UnitRange);
    let version = Preprocessing::VERSION;
    Preprocessing { version, width, height, resize, normalise }
}

/// Mean and largest difference of a channel between a photo as a network sees it, and as it would
/// if each of its pixels were decoded.
fn difference(photo: &[u8], width: u32, height: u32) -> (f64, u8) {
    let whole = vision::decode(photo, &LIMITS).unwrap();
    let whole = vision::resize(&whole, width, height).unwrap();
    let seen = vision::prepare(photo, &LIMITS, &preprocessing(width, height)).unwrap();
    let differences = seen.iter().zip(whole.iter()).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = differences.clone().map(f64::from).sum();
    (sum / seen.len() as f64, differences.max().unwrap())
}

/// Something to see at every scale, of any size.
fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |length: f64| ((f64::from(x) + 0.7 * f64::from(y)) / length).sin();
        let grain = f64::from((x * 7919 + y * 104_729) % 17) - 8.0;
        let tone = |length: f64| (128.0 + 60.0 * wave(length) + 30.0 * wave(11.0) + grain) as u8;
        Rgb([tone(90.0), tone(140.0), tone(230.0)])
    })
}

#[test]
fn a_photo_of_any_size_looks_as_if_each_of_its_pixels_were_decoded() {
    // Half a side, whole and not.
    for (width, height) in [(1440, 1448), (1805, 1443), (3003, 3489)] {
        let (mean, most) = difference(&encode(scene(width, height), ImageFormat::Jpeg), 180, 180);
        assert!(mean < 0.5 && most <= 5, "{width} × {height}: {mean:.2}, {most}");
    }
    let grey = GrayImage::from_fn(1500, 1501, |x, y| Luma([(x / 12 + y / 18) as u8]));
    let (mean, most) = difference(&encode(grey, ImageFormat::Jpeg), 180, 180);
    assert!(mean < 0.5 && most <= 5, "{mean:.2}, {most}");
}

#[test]
fn it_is_upright_and_of_its_colours_whatever_the_file() {
    for orientation in 1..=8 {
        // As wide as high would hide that a side was taken for the other.
        let (mean, most) = difference(&fixture(&format!("exif_{orientation}.jpg")), 6, 3);
        assert!(mean < 3.0 && most <= 8, "{orientation}: {mean:.2}, {most}");
    }
    let restart = fixture("restart.jpg");
    let (start, rest) = restart.split_at(20);
    for orientation in 1..=8 {
        // The same for a photo whose half ends within a pixel: the EXIF of one, the rest of another.
        let exif = fixture(&format!("exif_{orientation}.jpg"));
        let from = exif.windows(2).position(|pair| pair == [0xFF, 0xE1]).unwrap();
        let length = usize::from(u16::from_be_bytes([exif[from + 2], exif[from + 3]]));
        let photo = [start, &exif[from..from + 2 + length], rest].concat();
        let (width, height) = if orientation < 5 { (7, 5) } else { (5, 7) };
        let (mean, most) = difference(&photo, width, height);
        assert!(mean < 1.0 && most <= 4, "{orientation}: {mean:.2}, {most}");
    }
    for name in ["restart", "grey_adobe", "junk", "cmyk", "ycck", "progressive"] {
        let (mean, most) = difference(&fixture(&format!("{name}.jpg")), 5, 3);
        assert!(mean < 3.0 && most <= 8, "{name}: {mean:.2}, {most}");
    }
}

#[test]
fn a_large_file_that_is_damaged_is_refused_as_if_it_were_small() {
    let whole = encode(scene(1600, 1200), ImageFormat::Jpeg);
    let middle = whole.len() / 2;
    let mut overwritten = whole.clone();
    overwritten[middle..middle + 64].fill(0xFF);
    for (what, bytes) in [("cut", &whole[..middle]), ("overwritten", &overwritten)] {
        let prepared = vision::prepare(bytes, &LIMITS, &preprocessing(180, 180));
        assert_eq!(prepared.err().map(|error| error.code()), Some("corrupt_image"), "{what}");
    }
    let small = Limits { max_pixels: 1_000_000 };
    let error = vision::prepare(&whole, &small, &preprocessing(180, 180)).unwrap_err();
    assert_eq!(error.code(), "too_many_pixels");
}

/// The model in the binary, in fp32: how bf16 rounds would count as a difference.
fn default_model() -> LoadedModel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.safetensors");
    let (card, tensors) = embedded::model().unwrap();
    model_file::save(&path, &card, &tensors).unwrap();
    let compute = ComputeConfig { device: tch::Device::Cpu, precision: Precision::Fp32 };
    LoadedModel::open(&path, compute).unwrap()
}

/// Asks about a JPEG as it is prepared, and about it when each of its pixels was decoded.
#[track_caller]
fn assert_judged_alike(model: &LoadedModel, photo: RgbImage) {
    let size = photo.dimensions();
    let photo = encode(photo, ImageFormat::Jpeg);
    let preprocessing = model.card().preprocessing;
    let seen = vision::prepare(&photo, &LIMITS, &preprocessing).unwrap();
    let whole = vision::decode(&photo, &LIMITS).unwrap();
    let whole = vision::resize(&whole, preprocessing.width, preprocessing.height).unwrap();
    let judged = [seen, whole.into_raw()].map(|pixels| {
        let output = &model.forward(&[pixels]).unwrap()[0];
        Prediction::new(None, model.card(), AnswerThresholds::default(), output).unwrap()
    });
    let [seen, whole] = &judged;
    assert_eq!(seen.label, whole.label, "{size:?}");
    let moved = (seen.probability - whole.probability).abs();
    assert!(moved < 0.01, "{size:?}: {} {}", seen.probability, whole.probability);
}

#[test]
fn a_large_photo_gets_the_label_that_all_of_its_pixels_would_get() {
    let model = default_model();
    for (width, height) in [(1500, 1450), (3000, 2890), (3001, 3507)] {
        assert_judged_alike(&model, scene(width, height));
    }
}

/// `PAWPRINT_REAL_DATA` names the folder that holds `originals/`.
#[test]
fn real_photos_keep_their_labels() {
    let Some(folder) = real_data() else { return };
    let model = default_model();
    let files = walkdir::WalkDir::new(folder.join("originals")).sort_by_file_name();
    let files = files.into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let files: Vec<_> = files.step_by(15).collect();
    assert!(!files.is_empty(), "no photos in {}", folder.display());
    for (index, file) in files.iter().enumerate() {
        let photo = vision::decode(&std::fs::read(file.path()).unwrap(), &LIMITS).unwrap();
        // Of 2 to 12 megapixels.
        let megapixels = [2.2, 4.0, 8.0, 12.0][index % 4];
        let (width, height) = photo.dimensions();
        let times = (megapixels * 1e6 / f64::from(width * height)).sqrt();
        let larger = |side: u32| (f64::from(side) * times) as u32;
        assert_judged_alike(&model, vision::resize(&photo, larger(width), larger(height)).unwrap());
    }
}
