//! Decoded images: each photo is decoded once, for every epoch of every job.
//!
//! All images of one size lie as RGB bytes in one file under the data directory, found by their
//! hash, and are read through a memory map: what doesn't fit into memory is the system's to page.
//! Only trainers use it, several at a time; one fills it while the others wait.
//!
//! ```text
//! cache/180x180-v1.rgb     slot i is bytes i·97,200 to (i+1)·97,200
//! cache/180x180-v1.index   SHA-256 of the image in slot i, 32 bytes each
//! cache/180x180-v1.lock    held while filling
//! ```
//!
//! `v1` is [`vision::VERSION`]: pixels of a program that decoded otherwise are never mixed in.
//!
//! Bytes are synced before their hash is written, so that a hash never points at half an image.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use memmap2::Mmap;
use tch::{Device, Kind, Tensor};

use super::failure::{End, Failure};
use crate::{
    domain::dataset::{Digest, Sample},
    vision,
};

/// Images decoded between two syncs: what a crash costs.
const SYNC_EVERY: usize = 256;
/// Damaged images named in the error.
const NAMED: usize = 5;
const DIGEST: usize = size_of::<Digest>();

/// Width and height of the images of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Size {
    /// Bytes of one image.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.width as usize * self.height as usize * 3
    }
}

/// The decoded images of a job.
#[derive(Debug)]
pub struct Pixels {
    /// All slots of the file, `[slots, height, width, 3]` bytes; points into `_map`.
    images: Tensor,
    slots: HashMap<Digest, i64>,
    _map: Mmap,
}

impl Pixels {
    /// Makes sure that all of `samples` are in the cache in `folder`, decoding those that are
    /// not with `decode`, which writes one image into the buffer it gets, on `threads` threads.
    ///
    /// `progress` is called with the number of images that are ready; it may end the work.
    ///
    /// # Errors
    /// `bad_dataset` naming the images that can't be decoded, `disk_full`, or what `progress` says.
    pub fn prepare(
        folder: &Path,
        size: Size,
        samples: &[Sample],
        threads: usize,
        decode: impl Fn(&Sample, &mut [u8]) -> Result<(), String> + Sync,
        mut progress: impl FnMut(usize) -> Result<(), End>,
    ) -> Result<Self, End> {
        let paths = Paths::new(folder, size);
        let _lock = paths.lock(&mut || progress(0))?;
        let mut filling =
            Filling::open(&paths, size).map_err(|error| Failure::io(&paths.pixels, &error))?;
        let missing: Vec<&Sample> =
            samples.iter().filter(|sample| !filling.slots.contains_key(&sample.sha256)).collect();
        let ready = samples.len() - missing.len();
        progress(ready)?;
        // What is not synced when this breaks off is cut away by the next trainer.
        let damaged = decode_all(&missing, size, threads, &decode, |done, digest, image| {
            filling.push(digest, image).map_err(|error| Failure::io(&paths.pixels, &error))?;
            progress(ready + done)
        })?;
        filling.sync().map_err(|error| Failure::io(&paths.pixels, &error))?;
        if !damaged.is_empty() {
            return Err(bad_images(&damaged).into());
        }
        filling.map(size).map_err(|error| Failure::io(&paths.pixels, &error).into())
    }

    /// The images of `samples`, `[n, height, width, 3]` bytes, gathered into one tensor.
    ///
    /// # Panics
    /// Never for samples that [`Pixels::prepare`] was given.
    pub fn gather(&self, samples: &[Sample]) -> Tensor {
        let slots: Vec<i64> = samples.iter().map(|sample| self.slots[&sample.sha256]).collect();
        self.images.index_select(0, &Tensor::from_slice(&slots))
    }
}

/// Removes each cache in `folder` that has outgrown the `images` there are: more than half of it
/// is of photos that are gone. Trainers that read it go on reading; the next ones decode anew.
///
/// # Errors
/// The file system refused.
pub fn discard_outgrown(folder: &Path, images: usize) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let index = entry?.path();
        if index.extension().is_none_or(|extension| extension != "index") {
            continue;
        }
        let lock = File::create(index.with_extension("lock"))?;
        let outgrown = fs::metadata(&index)?.len() as usize / DIGEST > 2 * images + SYNC_EVERY;
        if outgrown && lock.try_lock().is_ok() {
            tracing::info!(path = %index.display(), "discarding decoded images, most are of photos that are gone");
            // The index first: slots without hashes are cut off, hashes without slots are not.
            fs::remove_file(&index)?;
            fs::remove_file(index.with_extension("rgb"))?;
        }
    }
    Ok(())
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

struct Paths {
    pixels: PathBuf,
    index: PathBuf,
    lock: PathBuf,
}

impl Paths {
    fn new(folder: &Path, Size { width, height }: Size) -> Self {
        let version = vision::VERSION;
        let path = |extension| folder.join(format!("{width}x{height}-v{version}.{extension}"));
        Self { pixels: path("rgb"), index: path("index"), lock: path("lock") }
    }

    /// Waits for the lock; `waiting` may end the wait.
    fn lock(&self, waiting: &mut dyn FnMut() -> Result<(), End>) -> Result<File, End> {
        let io_error = |error: &io::Error| Failure::io(&self.lock, error);
        if let Some(folder) = self.lock.parent() {
            fs::create_dir_all(folder).map_err(|error| io_error(&error))?;
        }
        let file = File::create(&self.lock).map_err(|error| io_error(&error))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => waiting()?,
                Err(TryLockError::Error(error)) => return Err(io_error(&error).into()),
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The cache while this process holds its lock.
struct Filling {
    pixels: File,
    index: File,
    slots: HashMap<Digest, i64>,
    /// Slots that the index names; a hash may stand there twice.
    count: i64,
    /// Written to `pixels` since the last sync, in the order of their slots.
    unsynced: Vec<Digest>,
}

impl Filling {
    /// Opens both files and cuts off what a crash left half-written.
    fn open(paths: &Paths, size: Size) -> io::Result<Self> {
        let open = |path| OpenOptions::new().read(true).append(true).create(true).open(path);
        let (pixels, index) = (open(&paths.pixels)?, open(&paths.index)?);
        let hashes = fs::read(&paths.index)?;
        let whole = (hashes.len() / DIGEST).min(pixels.metadata()?.len() as usize / size.bytes());
        index.set_len((whole * DIGEST) as u64)?;
        pixels.set_len((whole * size.bytes()) as u64)?;
        let (hashes, _) = hashes.as_chunks::<DIGEST>();
        let slots = hashes.iter().take(whole).map(|hash| Digest(*hash)).zip(0..).collect();
        Ok(Self { pixels, index, slots, count: whole as i64, unsynced: Vec::new() })
    }

    fn push(&mut self, digest: Digest, image: &[u8]) -> io::Result<()> {
        self.pixels.write_all(image)?;
        self.unsynced.push(digest);
        if self.unsynced.len() == SYNC_EVERY { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.pixels.sync_data()?;
        let hashes: Vec<u8> = self.unsynced.iter().flat_map(|digest| digest.0).collect();
        if let Err(error) = self.index.write_all(&hashes).and_then(|()| self.index.sync_data()) {
            // Half a write names slots that are not there.
            self.index.set_len(self.count as u64 * DIGEST as u64)?;
            return Err(error);
        }
        let added = self.unsynced.len() as i64;
        self.slots.extend(self.unsynced.drain(..).zip(self.count..));
        self.count += added;
        Ok(())
    }

    fn map(self, size: Size) -> io::Result<Pixels> {
        // SAFETY: slots that the index names are never written again; other trainers only append,
        // and cut off nothing but what no index names.
        let map = unsafe { Mmap::map(&self.pixels) }?;
        let (height, width) = (i64::from(size.height), i64::from(size.width));
        let shape = [self.count, height, width, 3];
        let strides = [height * width * 3, width * 3, 3, 1];
        // SAFETY: the map covers every slot, and lives as long as the tensor beside it, which
        // nothing else keeps: `gather` copies.
        let images =
            unsafe { Tensor::from_blob(map.as_ptr(), &shape, &strides, Kind::Uint8, Device::Cpu) };
        Ok(Pixels { images, slots: self.slots, _map: map })
    }
}

/// Decodes `samples` on `threads` threads and gives each image to `ready`, with the number of
/// images done so far, in the order in which they are done; gives back those that can't be.
fn decode_all(
    samples: &[&Sample],
    size: Size,
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
                    let mut image = vec![0; size.bytes()];
                    let decoded = decode(sample, &mut image).map(|()| image);
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
                Err(reason) => damaged.push((*sample, reason)),
            }
        }
        drop(receiver);
        Ok(damaged)
    })
}
