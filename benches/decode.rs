//! Benchmark of image decoding and preprocessing: `cargo bench --bench decode -- DIR…`.
//!
//! All images of each folder are decoded, and preprocessed to 180×180 px, on one thread, in several
//! rounds. Prints one line per folder with the median over the rounds of the mean time per image.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::{env, error::Error, fs, hint::black_box, path::Path, time::Instant};

use pawprint::{
    domain::preprocessing::Preprocessing,
    vision::{self, Limits},
};
use walkdir::WalkDir;

const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    for folder in env::args().skip(1).filter(|argument| !argument.starts_with('-')) {
        let photos = read(Path::new(&folder))?;
        let limits = Limits::default();
        let decode = median(&photos, |bytes| {
            vision::decode(bytes, &limits).is_ok_and(|image| !black_box(image).is_empty())
        });
        let prepare = median(&photos, |bytes| {
            let pixels = vision::prepare(bytes, &limits, &Preprocessing::UNIT_180);
            pixels.is_ok_and(|pixels| !black_box(pixels).is_empty())
        });
        println!(
            "{folder}: {} images, {decode:.3} ms to decode one, {prepare:.3} ms to preprocess one",
            photos.len()
        );
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let files = WalkDir::new(folder).sort_by_file_name().into_iter();
    let mut photos = Vec::new();
    for file in files {
        let file = file?;
        if file.file_type().is_file() {
            photos.push(fs::read(file.path())?);
        }
    }
    Ok(photos)
}

/// Milliseconds that `work` takes of a photo, the median of the rounds' means.
fn median(photos: &[Vec<u8>], work: impl Fn(&[u8]) -> bool) -> f64 {
    let mut means: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            let read = photos.iter().filter(|bytes| work(bytes)).count();
            started.elapsed().as_secs_f64() * 1e3 / read.max(1) as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    means[ROUNDS / 2]
}
