//! What bounds the work of all uploads together, and the memory that they share.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;

/// Maximum KiB of encoded images in memory for checks, over all uploads.
const MEMORY_KIB: u32 = 32 << 10;

/// Bytes of an image whose memory is kept for another one; 22 megapixels.
const SPARE_BYTES: usize = 64 << 20;

/// What bounds the work of all uploads together.
#[derive(Debug)]
pub(super) struct Throttle {
    /// A permit for each check that may run.
    pub(super) workers: Arc<Semaphore>,
    /// A permit for each KiB of [`MEMORY_KIB`].
    memory: Arc<Semaphore>,
    /// What [`Throttle::spare`] returns, while there are uploads.
    spare: Mutex<Weak<Spare>>,
}

impl Throttle {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers: Arc::new(Semaphore::new(workers)),
            memory: Arc::new(Semaphore::new(MEMORY_KIB as usize)),
            spare: Mutex::default(),
        }
    }

    /// Waits for memory for `bytes` of an image; a file larger than the limit gets all of it.
    pub(super) async fn memory(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Error> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(MEMORY_KIB);
        self.memory.clone().acquire_many_owned(kib).await.map_err(|_| Error::ShuttingDown)
    }

    /// The memory that the uploads in progress share; it is freed with the last of them.
    pub(super) fn spare(&self) -> Arc<Spare> {
        let mut shared = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *shared = Arc::downgrade(&new);
            new
        })
    }
}

/// Memory of images that were checked, for the next ones: of as many as may be checked at a time.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// Memory of an image before, or none.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps memory that is no longer needed, unless it is very large.
    pub(super) fn put_back(&self, memory: Vec<u8>) {
        if memory.capacity() > SPARE_BYTES {
            return;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_share_memory_until_the_last_one_ends() {
        let throttle = Throttle::new(2);
        let (first, second) = (throttle.spare(), throttle.spare());
        first.put_back(vec![7; 1000]);
        first.put_back(vec![0; SPARE_BYTES + 1]);
        drop(first);
        assert_eq!(second.take().capacity(), 1000);
        assert_eq!(second.take().capacity(), 0);
        second.put_back(vec![7; 1000]);
        drop(second);
        assert_eq!(throttle.spare().take().capacity(), 0);
    }
}
