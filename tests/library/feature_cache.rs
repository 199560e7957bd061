//! The cache of features: computed once for each image, again only after a change, and never
//! trusted beyond what a crash left whole.

use std::{
    cell::RefCell,
    fs::{self, File},
    path::{Path, PathBuf},
};

use pawprint::{
    device::ComputeConfig,
    domain::{
        ImageId,
        dataset::{Digest, Sample, Split},
        preprocessing::Preprocessing,
        recipe::Precision,
    },
    training::{
        cache::{CacheWriter, Layout, evict_stale},
        features::{layout, prepare},
    },
};
use tch::{Device, Kind, Tensor};

const SHAPE: [i64; 1] = [3];
/// Bytes of a record: three 32-bit numbers.
const RECORD: u64 = 12;

fn samples(numbers: std::ops::Range<u8>) -> Vec<Sample> {
    numbers
        .map(|number| Sample {
            image_id: ImageId::new(),
            sha256: Digest::of(&[number]),
            label: 0,
            split: Split::Train,
        })
        .collect()
}

fn of_layer(weights: &[u8], layer: &str, preprocessing: &Preprocessing) -> Layout {
    let compute = ComputeConfig { device: Device::Cpu, precision: Precision::Fp32 };
    layout("vgg16", &Digest::of(weights), layer, &SHAPE, preprocessing, compute)
}

fn block5() -> Layout {
    of_layer(b"weights", "block5", &Preprocessing::UNIT_180)
}

/// The features of an image: numbers that only it has.
fn features(sample: &Sample) -> [f32; 3] {
    [sample.sha256.0[0], sample.sha256.0[1], sample.sha256.0[2]].map(f32::from)
}

/// Prepares the features of `samples` and checks them; gives the number of images that were
/// computed for that.
fn computed(folder: &Path, layout: Layout, samples: &[Sample]) -> usize {
    let ready = RefCell::new(Vec::new());
    let forward = |batch: &[Sample]| {
        let values: Vec<f32> = batch.iter().flat_map(features).collect();
        Tensor::from_slice(&values).reshape([-1, SHAPE[0]])
    };
    let progress = |images| {
        ready.borrow_mut().push(images);
        Ok(())
    };
    let records = prepare(folder, layout, samples, forward, progress).unwrap();
    let gathered = records.gather(samples);
    assert_eq!(gathered.size(), [samples.len() as i64, SHAPE[0]]);
    let gathered = Vec::<f32>::try_from(gathered.to_kind(Kind::Float).flatten(0, -1)).unwrap();
    let expected: Vec<f32> = samples.iter().flat_map(features).collect();
    assert_eq!(gathered, expected);
    samples.len() - ready.into_inner()[0]
}

/// A cache that holds the features of 40 images: more than one batch.
fn filled() -> (tempfile::TempDir, Vec<Sample>) {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(0..40);
    assert_eq!(computed(folder.path(), block5(), &samples), 40);
    (folder, samples)
}

fn file(folder: &Path, extension: &str) -> PathBuf {
    folder.join(format!("{}.{extension}", block5().name))
}

fn cut(path: &Path, length: u64) {
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn features_are_computed_once() {
    let (folder, samples) = filled();
    assert_eq!(computed(folder.path(), block5(), &samples), 0);
    let mut others = samples[10..20].to_vec();
    others.reverse();
    assert_eq!(computed(folder.path(), block5(), &others), 0, "in any order, for any job");
}

#[test]
fn features_that_are_no_longer_those_of_the_images_are_computed_again() {
    for garbage in [0x00, 0x41, 0xff] {
        let (folder, samples) = filled();
        let records = file(folder.path(), "records");
        let length = fs::read(&records).unwrap().len();
        fs::write(&records, vec![garbage; length]).unwrap();
        assert_eq!(computed(folder.path(), block5(), &samples), 40, "{garbage}");
        assert_eq!(computed(folder.path(), block5(), &samples), 0);
    }
}

#[test]
fn a_single_record_that_is_no_number_is_found() {
    let (folder, samples) = filled();
    let records = file(folder.path(), "records");
    let mut bytes = fs::read(&records).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&records, bytes).unwrap();
    assert_eq!(computed(folder.path(), block5(), &samples), 40);
}

#[test]
fn of_a_dataset_that_grew_only_new_images_are_computed() {
    let (folder, mut grown) = filled();
    grown.extend(samples(40..45));
    assert_eq!(computed(folder.path(), block5(), &grown), 5);
    assert_eq!(computed(folder.path(), block5(), &grown), 0);
}

#[test]
fn what_features_depend_on_has_a_cache_of_its_own() {
    let (folder, samples) = filled();
    let newer = Preprocessing { version: Preprocessing::VERSION + 1, ..Preprocessing::UNIT_180 };
    let smaller = Preprocessing { width: 90, ..Preprocessing::UNIT_180 };
    for layout in [
        of_layer(b"other weights", "block5", &Preprocessing::UNIT_180),
        of_layer(b"weights", "block4", &Preprocessing::UNIT_180),
        of_layer(b"weights", "block5", &newer),
        of_layer(b"weights", "block5", &smaller),
    ] {
        assert_eq!(computed(folder.path(), layout.clone(), &samples), 40, "{}", layout.name);
    }
    assert_eq!(computed(folder.path(), block5(), &samples), 0, "and the first is as it was");
}

#[test]
fn records_that_a_crash_cut_off_are_computed_again() {
    let (folder, samples) = filled();
    cut(&file(folder.path(), "records"), 30 * RECORD + 5);
    assert_eq!(computed(folder.path(), block5(), &samples), 10);
    // Half a hash names no record.
    cut(&file(folder.path(), "index"), 25 * 32 + 17);
    assert_eq!(computed(folder.path(), block5(), &samples), 15);
    assert_eq!(computed(folder.path(), block5(), &samples), 0);
    assert_eq!(fs::metadata(file(folder.path(), "records")).unwrap().len(), 40 * RECORD);
}

#[test]
fn without_one_of_its_files_a_cache_begins_anew() {
    for extension in ["records", "index"] {
        let (folder, samples) = filled();
        fs::remove_file(file(folder.path(), extension)).unwrap();
        assert_eq!(computed(folder.path(), block5(), &samples), 40, "without its {extension}");
        assert_eq!(computed(folder.path(), block5(), &samples), 0);
    }
}

#[test]
fn a_cache_is_evicted_when_most_of_its_images_are_gone_and_no_trainer_fills_it() {
    let folder = tempfile::tempdir().unwrap();
    let many: Vec<Sample> = (0..3)
        .flat_map(|round| {
            samples(0..255).into_iter().map(move |sample| Sample {
                sha256: Digest::of(&[sample.sha256.0[0], sample.sha256.0[1], round]),
                ..sample
            })
        })
        .collect();
    assert_eq!(computed(folder.path(), block5(), &many), many.len());
    evict_stale(folder.path(), many.len()).unwrap();
    assert!(file(folder.path(), "index").exists(), "all of its images are there");
    let writer = CacheWriter::open(folder.path(), block5(), || Ok(())).unwrap();
    evict_stale(folder.path(), 0).unwrap();
    assert!(file(folder.path(), "index").exists(), "a trainer holds it");
    drop(writer);
    evict_stale(folder.path(), 0).unwrap();
    assert!(!file(folder.path(), "index").exists() && !file(folder.path(), "records").exists());
    assert_eq!(computed(folder.path(), block5(), &many), many.len());
}
