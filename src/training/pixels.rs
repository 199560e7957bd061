//! Decoded images: each photo is decoded and resized once, by as many threads as the job has.

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
    cache::{Filling, Layout, Records},
    failure::{End, Failure},
};
use crate::domain::{
    dataset::{Digest, Sample},
    model::Preprocessing,
};

/// Damaged images named in the error.
const NAMED: usize = 5;

/// How decoded images lie in the cache: RGB bytes `[height, width, 3]`, named after
/// [`Preprocessing::VERSION`] too: pixels of a program that decoded otherwise are never mixed in.
#[must_use]
pub fn layout(preprocessing: &Preprocessing) -> Layout {
    let Preprocessing { version, width, height, .. } = *preprocessing;
    Layout {
        name: format!("{width}x{height}-v{version}"),
        shape: vec![height.into(), width.into(), 3],
        kind: Kind::Uint8,
    }
}

/// Makes sure that all of `samples` are in the cache in `folder`, decoding those that are not
/// with `decode`, which writes one image into the buffer it gets, on `threads` threads.
///
/// `progress` is called with the number of images that are ready; it may end the work.
///
/// # Errors
/// `bad_dataset` naming the images that can't be decoded, `disk_full`, or what `progress` says.
pub fn prepare(
    folder: &Path,
    preprocessing: &Preprocessing,
    samples: &[Sample],
    threads: usize,
    decode: impl Fn(&Sample, &mut [u8]) -> Result<(), String> + Sync,
    mut progress: impl FnMut(usize) -> Result<(), End>,
) -> Result<Records, End> {
    let mut filling = Filling::open(folder, layout(preprocessing), || progress(0))?;
    let missing = filling.missing(samples);
    let ready = samples.len() - missing.len();
    progress(ready)?;
    let bytes = preprocessing.bytes();
    let damaged = decode_all(&missing, bytes, threads, &decode, |done, digest, image| {
        filling.push(digest, image)?;
        progress(ready + done)
    })?;
    let records = filling.finish()?;
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

/// Decodes `samples` on `threads` threads and gives each image to `ready`, with the number of
/// images done so far, in the order in which they are done; gives back those that can't be.
fn decode_all(
    samples: &[Sample],
    bytes: usize,
    threads: usize,
    decode: &(impl Fn(&Sample, &mut [u8]) -> Result<(), String> + Sync),
    mut ready: impl FnMut(usize, Digest, &[u8]) -> Result<(), End>,
) -> Result<Vec<(Sample, String)>, End> {
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
