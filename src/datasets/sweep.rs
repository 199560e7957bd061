//! Removes unreferenced blobs: those of deleted images, and those of uploads that were interrupted
//! between their files and their rows.
//!
//! Called by the server now and then. Uploads continue meanwhile: the store is scanned without
//! blocking them, and new rows wait only while a few candidates are checked again and removed.

use std::collections::HashSet;

use serde::Serialize;

use super::{Datasets, Error, blocking};
use crate::{domain::dataset::Digest, storage};

/// Candidates that are removed while uploads wait.
const BATCH: usize = 100;

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Datasets {
    /// Removes each blob that belongs to no image and is not in `kept`: images in manifests of jobs
    /// must be kept, even if they were deleted from the dataset since.
    ///
    /// # Errors
    /// The disk or the database failed.
    pub async fn sweep(&self, kept: HashSet<Digest>) -> Result<SweepReport, Error> {
        let blobs = self.blobs().clone();
        let all = blocking(move || Ok(blobs.list()?)).await?;
        let used = {
            let mut connection = self.storage().read().await?;
            storage::images::digests(&mut connection).await?
        };
        let unused: Vec<_> = all
            .into_iter()
            .filter(|(digest, _)| !used.contains(digest) && !kept.contains(digest))
            .collect();
        let mut swept = SweepReport::default();
        for batch in unused.chunks(BATCH) {
            let _gate = self.sweep_lock().write().await;
            let mut gone = Vec::with_capacity(batch.len());
            {
                let mut connection = self.storage().read().await?;
                for (digest, bytes) in batch {
                    // Its image may have been uploaded again meanwhile.
                    if !storage::images::is_used(&mut connection, digest).await? {
                        gone.push(*digest);
                        swept.blobs += 1;
                        swept.bytes += bytes;
                    }
                }
            }
            let blobs = self.blobs().clone();
            blocking(move || Ok(gone.iter().try_for_each(|digest| blobs.remove(digest))?)).await?;
        }
        if swept.blobs > 0 {
            tracing::info!(blobs = swept.blobs, bytes = swept.bytes, "removed unreferenced images");
        }
        Ok(swept)
    }
}
