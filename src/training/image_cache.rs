//! Decoded images: each image is decoded and resized once, by as many threads as the job has.

use std::{
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tch::Kind;

use super::{
    cache::{CacheWriter, CachedRecords, Layout},
    failure::{Failure, StopReason},
    spec::Job,
};
use crate::{
    blobs,
    domain::{
        dataset::{Digest, Sample},
        preprocessing::Preprocessing,
    },
    vision,
};

/// Damaged images named in the error.
const NAMED: usize = 5;

/// The layout of decoded images in the cache: RGB bytes `[height, width, 3]`, also named after
/// [`Preprocessing::VERSION`]: pixels that were decoded differently are never mixed in.
#[must_use]
pub fn layout(preprocessing: &Preprocessing) -> Layout {
    let Preprocessing { version, width, height, .. } = *preprocessing;
    Layout {
        name: format!("{width}x{height}-v{version}"),
        shape: vec![height.into(), width.into(), 3],
        kind: Kind::Uint8,
    }
}

/// The decoded images of a job, out of the cache, where those that were missing are added;
/// `progress` as in [`prepare`].
///
/// # Errors
/// As [`prepare`].
pub fn of_job(
    job: &Job,
    preprocessing: &Preprocessing,
    progress: impl FnMut(usize) -> Result<(), StopReason>,
) -> Result<CachedRecords, StopReason> {
    let spec = &job.spec;
    let limits = vision::Limits { max_pixels: spec.max_image_pixels };
    prepare(
        &spec.cache,
        preprocessing,
        &job.samples,
        spec.threads,
        |sample, image| {
            let bytes =
                blobs::read(&spec.blobs, &sample.sha256).map_err(|error| error.to_string())?;
            vision::prepare_into(&bytes, &limits, preprocessing, image)
                .map_err(|error| error.to_string())
        },
        progress,
    )
}

/// Makes sure that all of `samples` are in the cache in `folder`, decoding those that are not
/// with `decode`, which writes one image into the buffer it gets, on `threads` threads.
///
/// `progress` is called with the number of images that are ready; it may end the work.
///
/// # Errors
/// `bad_dataset` naming the images that can't be decoded, `disk_full`, or that of `progress`.
pub fn prepare(
    folder: &Path,
    preprocessing: &Preprocessing,
    samples: &[Sample],
    threads: usize,
    decode: impl Fn(&Sample, &mut [u8]) -> Result<(), String> + Sync,
    mut progress: impl FnMut(usize) -> Result<(), StopReason>,
) -> Result<CachedRecords, StopReason> {
    let mut writer = CacheWriter::open(folder, layout(preprocessing), || progress(0))?;
    let missing = writer.missing(samples);
    let ready = samples.len() - missing.len();
    progress(ready)?;
    let bytes = preprocessing.bytes();
    let damaged = decode_all(&missing, bytes, threads, &decode, |done, digest, image| {
        writer.push(digest, image)?;
        progress(ready + done)
    })?;
    let records = writer.finish()?;
    if damaged.is_empty() { Ok(records) } else { Err(bad_images(&damaged).into()) }
}

fn bad_images(damaged: &[(Sample, String)]) -> Failure {
    let named: Vec<String> = damaged
        .iter()
        .take(NAMED)
        .map(|(sample, reason)| format!("{} ({reason})", sample.image_id))
        .collect();
    let more = damaged.len().saturating_sub(NAMED);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Failure::new(
        "bad_dataset",
        format!(
            "{} of the job's images can't be read: {}{and_more}; upload them again and resume the job, or remove them and start a new one",
            damaged.len(),
            named.join(", ")
        ),
    )
}

/// Decodes `samples` on `threads` threads and passes each image to `ready`, with the number of
/// images done so far, in the order of completion; returns those that can't be decoded.
pub(crate) fn decode_all(
    samples: &[Sample],
    bytes: usize,
    threads: usize,
    decode: &(impl Fn(&Sample, &mut [u8]) -> Result<(), String> + Sync),
    mut ready: impl FnMut(usize, Digest, &[u8]) -> Result<(), StopReason>,
) -> Result<Vec<(Sample, String)>, StopReason> {
    let next = AtomicUsize::new(0);
    // Bounded: decoders wait for the disk rather than fill the memory.
    let (sender, receiver) = mpsc::sync_channel(threads * 2);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(&sample) = samples.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut image = vec![0; bytes];
                    let decoded = decode(&sample, &mut image).map(|()| image);
                    // The receiver is gone when `ready` ended the work.
                    if sender.send((sample, decoded)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut damaged = Vec::new();
        for (done, (sample, decoded)) in receiver.iter().enumerate() {
            match decoded {
                Ok(image) => ready(done + 1, sample.sha256, &image)?,
                Err(reason) => damaged.push((sample, reason)),
            }
        }
        drop(receiver);
        Ok(damaged)
    })
}
