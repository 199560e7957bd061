//! What bounds the work of all uploads together, and the memory that they share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;

/// Maximum KiB of encoded images in memory for checks, over all uploads.
const MEMORY_KIB: u32 = 32 << 10;

/// What bounds the work of all uploads together.
#[derive(Debug)]
pub(super) struct Throttle {
    /// A permit for each check that may run.
    pub(super) workers: Arc<Semaphore>,
    /// A permit for each KiB of [`MEMORY_KIB`].
    memory: Arc<Semaphore>,
}

impl Throttle {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers: Arc::new(Semaphore::new(workers)),
            memory: Arc::new(Semaphore::new(MEMORY_KIB as usize)),
        }
    }

    /// Waits for memory for `bytes` of an image; a file larger than the limit gets all of it.
    pub(super) async fn memory(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Error> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(MEMORY_KIB);
        self.memory.clone().acquire_many_owned(kib).await.map_err(|_| Error::ShuttingDown)
    }
}
