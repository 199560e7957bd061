//! What is computed once for each image, for every epoch of every job: records of one size each,
//! found by the image's hash.
//!
//! All records of a kind are in one file under the data directory and are read through a memory
//! map: the system pages what doesn't fit into memory. Only trainers use it, several at a time; one
//! fills it while the others wait.
//!
//! ```text
//! cache/180x180-v2.records   slot i is bytes i·97,200 to (i+1)·97,200
//! cache/180x180-v2.index     SHA-256 of the image in slot i, 32 bytes each
//! cache/180x180-v2.lock      held while filling
//! ```
//!
//! Records are synced before their hash is written, so that a hash never points at half a record.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use memmap2::Mmap;
use tch::{Device, Kind, Tensor};

use super::failure::{Failure, StopReason};
use crate::domain::dataset::{Digest, Sample};

/// Records written between two syncs: the most that a crash loses.
const SYNC_EVERY: usize = 256;
const DIGEST: usize = size_of::<Digest>();
/// A cache that no trainer has opened for this long is removed.
const MAX_UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// The layout of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Name of the cache's files: everything that the records depend on except the image.
    pub name: String,
    /// Dimensions of a record.
    pub shape: Vec<i64>,
    /// Its number type.
    pub kind: Kind,
}

impl Layout {
    /// Bytes of one record.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<i64>() as usize * self.kind.elt_size_in_bytes()
    }
}

/// The records of a job's images.
#[derive(Debug)]
pub struct CachedRecords {
    layout: Layout,
    slots: HashMap<Digest, i64>,
    /// All slots of the file.
    map: Mmap,
}

impl CachedRecords {
    /// Whether all of `samples` have a record.
    #[must_use]
    pub fn contains_all(&self, samples: &[Sample]) -> bool {
        samples.iter().all(|sample| self.slots.contains_key(&sample.sha256))
    }

    /// The records of `samples`, `[n, …shape]`, gathered into one tensor on the CPU.
    ///
    /// # Panics
    /// Never for samples that the cache was filled with.
    pub fn gather(&self, samples: &[Sample]) -> Tensor {
        let slots: Vec<i64> = samples.iter().map(|sample| self.slots[&sample.sha256]).collect();
        let count = (self.map.len() / self.layout.bytes()) as i64;
        let shape: Vec<i64> = [count].iter().chain(&self.layout.shape).copied().collect();
        // SAFETY: the map has so many records, and outlives the tensor.
        let records = unsafe { over(&self.map, &shape, self.layout.kind) };
        records.index_select(0, &Tensor::from_slice(&slots))
    }

    /// The record of an image, where it lies.
    ///
    /// # Panics
    /// Never for an image that the cache was filled with.
    #[must_use]
    pub fn record(&self, digest: &Digest) -> &[u8] {
        let bytes = self.layout.bytes();
        &self.map[self.slots[digest] as usize * bytes..][..bytes]
    }
}

/// Removes each cache in `folder` that no trainer has opened for a month.
///
/// # Errors
/// The file system failed.
pub fn evict_unused(folder: &Path) -> io::Result<()> {
    evict(folder, usize::MAX)
}

/// Removes each cache in `folder` of which more than half belongs to deleted images, given the
/// number of existing `images`, and each that no trainer has opened for a month. Trainers that read
/// it continue; the next ones fill it again.
///
/// # Errors
/// The file system failed.
pub fn evict_stale(folder: &Path, images: usize) -> io::Result<()> {
    evict(folder, images.saturating_mul(2).saturating_add(SYNC_EVERY))
}

/// Removes each cache in `folder` that is unused or has more than `max` records.
fn evict(folder: &Path, max: usize) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let index = entry?.path();
        if index.extension().is_none_or(|extension| extension != "index") {
            continue;
        }
        let lock_path = index.with_extension("lock");
        let opened = fs::metadata(&lock_path).and_then(|metadata| metadata.modified());
        let unused = opened.is_ok_and(|opened| {
            SystemTime::now().duration_since(opened).is_ok_and(|since| since > MAX_UNUSED)
        });
        let outgrown = fs::metadata(&index)?.len() as usize / DIGEST > max;
        let lock = OpenOptions::new().append(true).create(true).open(&lock_path)?;
        if (outgrown || unused) && lock.try_lock().is_ok() {
            tracing::info!(path = %index.display(), outgrown, unused, "discarding a cache");
            // The index first: slots without hashes are cut off, hashes without slots are not.
            fs::remove_file(&index)?;
            fs::remove_file(index.with_extension("records"))?;
        }
    }
    Ok(())
}

/// A cache while this process holds its lock.
#[derive(Debug)]
pub struct CacheWriter {
    layout: Layout,
    path: PathBuf,
    records: File,
    index: File,
    _lock: File,
    slots: HashMap<Digest, i64>,
    /// Slots in the index; a hash may occur twice.
    count: i64,
    /// Written to `records` since the last sync, in the order of their slots.
    unsynced: Vec<Digest>,
}

impl CacheWriter {
    /// Opens the cache in `folder`, waiting for its lock; `waiting` may end the wait. Truncates
    /// records that a crash left incomplete.
    ///
    /// # Errors
    /// `disk_full`, `io_error`, or that of `waiting`.
    pub fn open(
        folder: &Path,
        layout: Layout,
        waiting: impl FnMut() -> Result<(), StopReason>,
    ) -> Result<Self, StopReason> {
        let path = |extension| folder.join(format!("{}.{extension}", layout.name));
        let (lock_path, path, index_path) = (path("lock"), path("records"), path("index"));
        let lock = lock(&lock_path, waiting)?;
        let open = || {
            let (mut records, index) = (open(&path)?, open(&index_path)?);
            let hashes = fs::read(&index_path)?;
            let held = records.metadata()?.len() as usize / layout.bytes();
            let whole = (hashes.len() / DIGEST).min(held);
            if whole == 0 && held > 0 {
                // What a discarded index named may still be mapped: truncated, it couldn't be read any more.
                fs::remove_file(&path)?;
                records = open(&path)?;
            }
            index.set_len((whole * DIGEST) as u64)?;
            records.set_len((whole * layout.bytes()) as u64)?;
            let (hashes, _) = hashes.as_chunks::<DIGEST>();
            let slots = hashes.iter().take(whole).map(|hash| Digest(*hash)).zip(0..).collect();
            Ok((records, index, slots, whole as i64))
        };
        let (records, index, slots, count) =
            open().map_err(|error: io::Error| Failure::io(&path, &error))?;
        Ok(Self { layout, path, records, index, _lock: lock, slots, count, unsynced: Vec::new() })
    }

    /// Up to `count` of `samples` that have a record, spread over all of them, with their records.
    ///
    /// # Errors
    /// `io_error`.
    pub fn sampled(
        &self,
        samples: &[Sample],
        count: usize,
    ) -> Result<Vec<(Sample, Vec<u8>)>, StopReason> {
        let held: Vec<_> = samples
            .iter()
            .filter_map(|sample| Some((*sample, *self.slots.get(&sample.sha256)?)))
            .collect();
        let step = held.len().div_ceil(count).max(1);
        held.into_iter()
            .step_by(step)
            .map(|(sample, slot)| {
                let mut record = vec![0; self.layout.bytes()];
                let offset = slot as u64 * record.len() as u64;
                self.records
                    .read_exact_at(&mut record, offset)
                    .map_err(|error| Failure::io(&self.path, &error))?;
                Ok((sample, record))
            })
            .collect()
    }

    /// Begins anew, without records. Trainers that read the old ones continue.
    ///
    /// # Errors
    /// `io_error`.
    pub fn clear(&mut self) -> Result<(), StopReason> {
        let mut begin = || {
            // The index first: slots without hashes are cut off, hashes without slots are not.
            for path in [self.path.with_extension("index"), self.path.clone()] {
                fs::remove_file(path)?;
            }
            self.index = open(&self.path.with_extension("index"))?;
            self.records = open(&self.path)?;
            Ok(())
        };
        begin().map_err(|error: io::Error| Failure::io(&self.path, &error))?;
        self.slots.clear();
        self.count = 0;
        Ok(())
    }

    /// Whether an image has a record.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.slots.contains_key(digest)
    }

    /// Those of `samples` that have no record yet.
    #[must_use]
    pub fn missing(&self, samples: &[Sample]) -> Vec<Sample> {
        let missing = samples.iter().filter(|sample| !self.slots.contains_key(&sample.sha256));
        missing.copied().collect()
    }

    /// Adds the record of an image.
    ///
    /// # Errors
    /// `disk_full` or `io_error`. Records that are not synced when the work is interrupted are
    /// truncated by the next trainer.
    pub fn push(&mut self, digest: Digest, record: &[u8]) -> Result<(), StopReason> {
        debug_assert_eq!(record.len(), self.layout.bytes());
        self.records.write_all(record).map_err(|error| Failure::io(&self.path, &error))?;
        self.unsynced.push(digest);
        if self.unsynced.len() == SYNC_EVERY { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), StopReason> {
        self.write_index().map_err(|error| Failure::io(&self.path, &error).into())
    }

    fn write_index(&mut self) -> io::Result<()> {
        self.records.sync_data()?;
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

    /// Syncs added records, releases the lock, and maps the records.
    ///
    /// # Errors
    /// `disk_full` or `io_error`.
    pub fn finish(mut self) -> Result<CachedRecords, StopReason> {
        self.sync()?;
        // SAFETY: slots that the index names are never written again; other trainers only append,
        // and cut off nothing but what no index names.
        let map =
            unsafe { Mmap::map(&self.records) }.map_err(|error| Failure::io(&self.path, &error))?;
        Ok(CachedRecords { layout: self.layout, slots: self.slots, map })
    }
}

/// What a map holds, as a tensor on the CPU.
///
/// # Safety
/// The map must hold as many numbers, and outlive the tensor and its views.
pub(crate) unsafe fn over(map: &Mmap, shape: &[i64], kind: Kind) -> Tensor {
    let mut strides = vec![1; shape.len()];
    for dimension in (1..shape.len()).rev() {
        strides[dimension - 1] = strides[dimension] * shape[dimension];
    }
    // SAFETY: as the caller's.
    unsafe { Tensor::from_blob(map.as_ptr(), shape, &strides, kind, Device::Cpu) }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

/// Waits for the lock; `waiting` may end the wait.
fn lock(
    path: &Path,
    mut waiting: impl FnMut() -> Result<(), StopReason>,
) -> Result<File, StopReason> {
    let io_error = |error: &io::Error| Failure::io(path, error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| io_error(&error))?;
    }
    // Truncating it notes the time: that is when the cache was last used.
    let file = File::create(path).map_err(|error| io_error(&error))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => waiting()?,
            Err(TryLockError::Error(error)) => return Err(io_error(&error).into()),
        }
        thread::sleep(Duration::from_millis(100));
    }
}
