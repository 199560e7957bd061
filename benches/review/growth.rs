//! What a review takes as a dataset grows.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use pawprint::{
    domain::DatasetId,
    review::{
        events::{Event, Phase},
        features::unit,
        nearest::{NEIGHBOURS, Nearest},
        spec::Spec,
    },
};

use crate::{Result, copies::encode, prepared, set::Set};

/// Reviews datasets of these sizes, made of the photos in `root` by re-encoding and cropping them,
/// each size from scratch and again.
pub(crate) fn measure(root: &Path, sizes: &[usize]) -> Result<()> {
    let originals = Set::read(root)?;
    println!(
        "images    features  others   again  ms/image  peak MB (without mapped files)  neighbours found, of 5 and 30"
    );
    let mut set = Set::empty(originals.classes)?;
    let mut made = 0;
    for size in sizes {
        set.forget_records()?;
        while set.photos.len() < *size {
            let photo = &originals.photos[made % originals.photos.len()];
            let turn = (made / originals.photos.len()) as u32;
            let pixels = originals.decode(photo)?;
            let (width, height) = (pixels.width(), pixels.height());
            let cut = turn * 2;
            let part =
                image::imageops::crop_imm(&pixels, cut, cut, width - 2 * cut, height - 2 * cut);
            set.add(&encode(&part.to_image(), 90 - turn as u8)?, photo.label)?;
            made += 1;
        }
        let first = review(&set)?;
        let again = review(&set)?;
        let [of_5, of_30] = recall(&set)?;
        println!(
            "{:>6} {:>9.1} s {:>6.1} s {:>6.1} s {:>8.2} {:>8}   {of_5:.4} {of_30:.4}",
            set.photos.len(),
            first.features,
            first.others,
            again.features + again.others,
            (first.features + first.others) * 1e3 / set.photos.len() as f64,
            first.anonymous_mb
        );
    }
    Ok(())
}

/// The fraction of the nearest 5 and 30 images of each that are found.
fn recall(set: &Set) -> Result<[f64; 2]> {
    let _no_grad = tch::no_grad_guard();
    let features = prepared(set)?.features;
    let ended = |end| format!("{end:?}");
    let found = Nearest::of(&features, |_| Ok(())).map_err(ended)?;
    let exact = Nearest::among_all(&unit(&features), |_| Ok(())).map_err(ended)?;
    Ok([5, NEIGHBOURS].map(|number| {
        let hits = (0..exact.images()).map(|image| {
            let near: Vec<usize> = found.of_image(image).map(|(other, _)| other).collect();
            exact.of_image(image).take(number).filter(|(other, _)| near.contains(other)).count()
        });
        hits.sum::<usize>() as f64 / (number * exact.images()) as f64
    }))
}

struct Measured {
    features: f64,
    others: f64,
    anonymous_mb: u64,
}

fn review(set: &Set) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let source = set.source();
    let spec = Spec {
        dataset_id: DatasetId::new(),
        revision: 1,
        classes: vec!["cat".parse()?, "dog".parse()?],
        threads: source.threads,
        max_image_pixels: source.max_image_pixels,
        blobs: source.blobs,
        cache: source.cache,
    };
    spec.create(folder.path(), &set.photos)?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_pawprint"))
        .arg("reviewer")
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let started = Instant::now();
    let status = format!("/proc/{}/status", child.id());
    // Until the process is gone.
    let memory = thread::spawn(move || {
        let mut most = 0;
        while let Some(megabytes) = anonymous_mb(&status) {
            most = most.max(megabytes);
            thread::sleep(Duration::from_millis(10));
        }
        most
    });
    let mut features = None;
    let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    for line in lines {
        match serde_json::from_str(&line?)? {
            Event::Progress(progress) if progress.phase == Phase::Comparing => {
                features.get_or_insert(started.elapsed().as_secs_f64());
            }
            Event::Failed { detail, .. } => return Err(detail.into()),
            _ => {}
        }
    }
    child.wait()?;
    let anonymous_mb = memory.join().map_err(|_| "the memory couldn't be measured")?;
    let (all, features) = (started.elapsed().as_secs_f64(), features.unwrap_or(0.0));
    Ok(Measured { features, others: all - features, anonymous_mb })
}

/// The memory of a process that is its own, in MB.
fn anonymous_mb(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(resident.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}
