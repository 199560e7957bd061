//! How well reviews find faults that were made: `make review-figures DATA=DIR`.
//!
//! `DIR` has the folders `dogs-vs-cats` and `trashnet`, each `<train|validation|test>/<class>/…`. With
//! `--growth N…`, reviews datasets of N images instead, made by re-encoding, in a process as the
//! server's, and prints their times and memory.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

mod copies;
mod growth;
mod set;

use std::{collections::HashSet, env, error::Error, path::PathBuf};

use image::{RgbImage, imageops};
use pawprint::{
    datasets::fingerprint::fingerprint,
    domain::review::Oddity,
    review::{
        classifier::Labelled,
        duplicates,
        features::unit,
        labelling,
        mislabelled::OutOfSample,
        nearest::Nearest,
        outliers,
        prepare::{Prepared, prepare},
    },
};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use self::{
    copies::{KINDS, copy},
    set::Set,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SEEDS: u64 = 3;
/// One of so many photos is made dark, blank, blurred or small.
const SPOILT: usize = 7;
/// Of what to label next: means of three differ as much as choosing gains.
const LABELLING_SEEDS: u64 = 12;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    let data = PathBuf::from(arguments.next().ok_or("usage: review DATA [--growth N…]")?);
    if arguments.next().as_deref() == Some("--growth") {
        let sizes: Vec<usize> =
            arguments.map(|size| size.parse()).collect::<std::result::Result<_, _>>()?;
        return growth::measure(&data.join("dogs-vs-cats"), &sizes);
    }
    let _no_grad = tch::no_grad_guard();
    let dogs = Set::read(&data.join("dogs-vs-cats"))?;
    let trash = Set::read(&data.join("trashnet"))?;
    println!("Wrong labels: 5% changed to another class, mean of {SEEDS} seeds");
    for (name, set) in [("cats and dogs", &dogs), ("trashnet", &trash)] {
        wrong_labels(name, set)?;
    }
    println!("\nNear-duplicates: a copy of every third of 1,800 photos");
    near_duplicates(&dogs, &trash)?;
    println!("\nUnlike the rest: photos of another dataset among those of one");
    for (name, set, other) in
        [("cats and dogs in trashnet", &trash, &dogs), ("trashnet in cats and dogs", &dogs, &trash)]
    {
        for count in [10, 50] {
            unlike(name, set, other, count)?;
        }
    }
    println!("\nShowing little: each {SPOILT}th of 1,500 photos made so");
    showing_little(&dogs, &trash)?;
    println!(
        "\nWhat to label next: trashnet, accuracy on its test images, mean of {LABELLING_SEEDS} seeds"
    );
    what_to_label(&trash)
}

fn prepared(set: &Set) -> Result<Prepared> {
    prepare(&set.source(), &set.photos, |_| Ok(())).map_err(|end| format!("{end:?}").into())
}

fn labels(prepared: &Prepared) -> Vec<usize> {
    prepared.photos.iter().map(|photo| photo.label.unwrap_or(0)).collect()
}

/// The row of the features of each of so many images.
fn rows(images: usize) -> Vec<i64> {
    (0..images as i64).collect()
}

/// The group of near-duplicates of each image.
fn groups(prepared: &Prepared) -> Result<Vec<usize>> {
    let nearest = Nearest::of(&prepared.features, |_| Ok(())).map_err(|end| format!("{end:?}"))?;
    let pairs = duplicates::pairs(&nearest, &prepared.pictures, 2);
    Ok(duplicates::roots(&pairs, prepared.photos.len()))
}

fn wrong_labels(name: &str, set: &Set) -> Result<()> {
    let prepared = prepared(set)?;
    let truth = labels(&prepared);
    let groups = groups(&prepared)?;
    let (mut area, mut precision, mut estimated) = (0.0, 0.0, 0.0);
    let wrong = truth.len() / 20;
    for seed in 0..SEEDS {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..truth.len()).collect();
        order.shuffle(&mut generator);
        let changed: HashSet<usize> = order[..wrong].iter().copied().collect();
        let mut labels = truth.clone();
        for image in &order[..wrong] {
            labels[*image] = (truth[*image] + generator.random_range(1..set.classes)) % set.classes;
        }
        let (features, rows) = (&prepared.features, &rows(labels.len()));
        let labelled = Labelled { features, rows, labels: &labels, classes: set.classes };
        let found =
            OutOfSample::of(&labelled, &groups, |_| Ok(())).map_err(|end| format!("{end:?}"))?;
        let confidence = found.self_confidence();
        let scores: Vec<f64> = confidence.iter().map(|it| -f64::from(*it)).collect();
        area += auroc(&scores, &changed) / SEEDS as f64;
        precision += precision_at(&scores, &changed) / SEEDS as f64;
        estimated += found.suspects(&prepared.photos, &labels).1 as f64 / SEEDS as f64;
    }
    println!(
        "  {name}: AUROC {area:.3}, precision among the first {wrong} {precision:.3}; estimated number {estimated:.0}"
    );
    Ok(())
}

/// The probability that a random one of `wanted` has a higher score than a random other.
fn auroc(scores: &[f64], wanted: &HashSet<usize>) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let ranks: f64 = order
        .iter()
        .enumerate()
        .filter(|(_, image)| wanted.contains(image))
        .map(|(rank, _)| rank as f64)
        .sum();
    let (hits, others) = (wanted.len() as f64, (scores.len() - wanted.len()) as f64);
    (ranks - hits * (hits - 1.0) / 2.0) / (hits * others)
}

/// The fraction of `wanted` among as many with the highest scores.
fn precision_at(scores: &[f64], wanted: &HashSet<usize>) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let found = order[..wanted.len()].iter().filter(|image| wanted.contains(image)).count();
    found as f64 / wanted.len() as f64
}

fn near_duplicates(dogs: &Set, trash: &Set) -> Result<()> {
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let mut set = Set::empty(1)?;
    let mut kinds = Vec::new();
    let mut shots = Vec::new();
    let mut hashes: Vec<[u64; 2]> = Vec::new();
    for source in [dogs, trash] {
        for photo in source.sample(900, 1) {
            let pixels = source.decode(&photo)?;
            let shot = shots.last().map_or(0, |shot| shot + 1);
            let mut add = |bytes: &[u8], kind| -> Result<()> {
                if set.add(bytes, Some(0))? {
                    let pixels = image::load_from_memory(bytes)?.to_rgb8();
                    let mirrored = imageops::flip_horizontal(&pixels);
                    hashes.push([fingerprint(&pixels)?, fingerprint(&mirrored)?]);
                    shots.push(shot);
                    kinds.push(kind);
                }
                Ok(())
            };
            add(&copies::encode(&pixels, 95)?, None)?;
            if shot % 3 == 0 {
                let kind = shot / 3 % KINDS.len();
                let (pixels, quality) = copy(&pixels, KINDS[kind], &mut generator);
                add(&copies::encode(&pixels, quality)?, Some(kind))?;
            }
        }
    }
    let Prepared { features, pictures, .. } = prepared(&set)?;
    let made: HashSet<(usize, usize)> = (1..shots.len())
        .filter(|image| kinds[*image].is_some())
        .map(|image| (image - 1, image))
        .collect();
    let report = |name: &str, found: &HashSet<(usize, usize)>| {
        let hits = found.intersection(&made).count();
        let of_kind: Vec<String> = (0..KINDS.len())
            .map(|kind| {
                let all: Vec<_> = made.iter().filter(|pair| kinds[pair.1] == Some(kind)).collect();
                let hits = all.iter().filter(|pair| found.contains(pair)).count();
                format!("{} {:.2}", KINDS[kind].name(), hits as f64 / all.len() as f64)
            })
            .collect();
        println!(
            "  {name}: precision {:.3}, recall {:.3} ({})",
            hits as f64 / found.len().max(1) as f64,
            hits as f64 / made.len() as f64,
            of_kind.join(", ")
        );
    };
    let nearest = Nearest::of(&features, |_| Ok(())).map_err(|end| format!("{end:?}"))?;
    let found = duplicates::pairs(&nearest, &pictures, 2);
    report("features, then pixels", &found.iter().map(|it| (it.first, it.second)).collect());
    let images = hashes.len();
    for bits in [0, 2, 6] {
        let close = |a: usize, b: usize| {
            let other = hashes[b];
            other.iter().any(|hash| (hashes[a][0] ^ hash).count_ones() <= bits)
        };
        let pairs = (0..images).flat_map(|a| (a + 1..images).map(move |b| (a, b)));
        report(
            &format!("difference hash, up to {bits} bits apart"),
            &pairs.filter(|(a, b)| close(*a, *b)).collect(),
        );
    }
    let units = unit(&features);
    let cosines = units.matmul(&units.tr());
    let cosines = Vec::<Vec<f32>>::try_from(&cosines)?;
    for limit in [0.8, 0.85, 0.9] {
        let pairs = (0..images).flat_map(|a| (a + 1..images).map(move |b| (a, b)));
        report(
            &format!("features alone, cosine from {limit}"),
            &pairs.filter(|(a, b)| cosines[*a][*b] >= limit).collect(),
        );
    }
    Ok(())
}

fn unlike(name: &str, set: &Set, other: &Set, count: usize) -> Result<()> {
    let mut mixed = set.share()?;
    for photo in other.sample(count, 7) {
        mixed.add(&other.bytes(&photo)?, Some(0))?;
    }
    let Prepared { photos, features, pictures, .. } = prepared(&mixed)?;
    let nearest = Nearest::of(&features, |_| Ok(())).map_err(|end| format!("{end:?}"))?;
    let scores = outliers::distances(&nearest);
    let wanted: HashSet<usize> = (photos.len() - count..photos.len()).collect();
    let ids: HashSet<_> = wanted.iter().map(|image| photos[*image].image_id).collect();
    let listed: Vec<_> = outliers::outliers(&photos, &scores, &pictures)
        .into_iter()
        .filter(|outlier| outlier.reasons.contains(&Oddity::Unlike))
        .collect();
    let hits = listed.iter().filter(|outlier| ids.contains(&outlier.image_id)).count();
    println!(
        "  {count} {name}: AUROC {:.3}, precision among the first {count} {:.2}; {} listed, {hits} of them made",
        auroc(&scores, &wanted),
        precision_at(&scores, &wanted),
        listed.len()
    );
    Ok(())
}

fn showing_little(dogs: &Set, trash: &Set) -> Result<()> {
    let mut set = Set::empty(1)?;
    let mut kinds = Vec::new();
    let faults = [Oddity::Dark, Oddity::Blank, Oddity::Blurred, Oddity::Small];
    let photos =
        [dogs, trash].map(|source| source.sample(750, 3).into_iter().map(move |it| (source, it)));
    for (place, (source, photo)) in photos.into_iter().flatten().enumerate() {
        let fault = (place % SPOILT == 0).then(|| faults[place / SPOILT % faults.len()]);
        let pixels = source.decode(&photo)?;
        let bytes = match fault {
            Some(fault) => copies::encode(&spoilt(&pixels, fault, place), 90)?,
            None => source.bytes(&photo)?,
        };
        if set.add(&bytes, Some(0))? {
            kinds.push(fault);
        }
    }
    let Prepared { photos, pictures, .. } = prepared(&set)?;
    let found = outliers::outliers(&photos, &vec![0.0; photos.len()], &pictures);
    let of_kind = |wanted: Option<Oddity>| -> HashSet<_> {
        let of_kind = photos.iter().zip(&kinds).filter(|(_, kind)| **kind == wanted);
        of_kind.map(|(photo, _)| photo.image_id).collect()
    };
    let as_they_were = of_kind(None);
    for fault in faults {
        let made = of_kind(Some(fault));
        let listed = || found.iter().filter(|it| it.reasons.contains(&fault));
        println!(
            "  {fault:?}: {} of {} found, and {} of {} that were left as they are",
            listed().filter(|it| made.contains(&it.image_id)).count(),
            made.len(),
            listed().filter(|it| as_they_were.contains(&it.image_id)).count(),
            as_they_were.len()
        );
    }
    Ok(())
}

fn spoilt(pixels: &RgbImage, fault: Oddity, seed: usize) -> RgbImage {
    match fault {
        Oddity::Dark => {
            let mut dark = pixels.clone();
            dark.iter_mut().for_each(|value| *value /= 12);
            dark
        }
        Oddity::Blank => RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| {
            // Each of another brightness.
            image::Rgb([(50 + seed / SPOILT % 150) as u8 + ((x + y) % 5) as u8; 3])
        }),
        Oddity::Blurred => imageops::blur(pixels, pixels.width() as f32 / 224.0 * 4.0),
        _ => imageops::thumbnail(pixels, 48, 48),
    }
}

fn what_to_label(set: &Set) -> Result<()> {
    let prepared = prepared(set)?;
    let labels = labels(&prepared);
    let (features, rows) = (&prepared.features, &rows(labels.len()));
    let labelled = Labelled { features, rows, labels: &labels, classes: set.classes };
    let groups = groups(&prepared)?;
    let curve = labelling::curve(&prepared.photos, &labelled, &groups, LABELLING_SEEDS, || Ok(()))
        .map_err(|end| format!("{end:?}"))?
        .ok_or("too few images")?;
    for (place, labels) in curve.labels.iter().enumerate() {
        println!(
            "  {labels} labels: chosen {:.3}, random {:.3}",
            curve.chosen[place], curve.random[place]
        );
    }
    Ok(())
}
