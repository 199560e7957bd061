//! Downloads of published weights: resumed after an interruption, verified at the end.
//!
//! Called by [`super::Pretrained`], for a job that needs weights nobody uploaded.
//! Received data is in a partial file, so that neither a broken connection nor a killed process
//! loses more than the bytes in transit; a file beside it, with the same name and `.origin`,
//! records which version of which file it is a part of.

mod error;
mod partial;
mod source;
#[cfg(test)]
mod tests;
mod transfer;

use std::{io, path::Path, time::Duration};

use tokio::{task, time};

pub use self::{
    error::DownloadError,
    source::{Checksum, Source},
};
use self::{partial::Partial, transfer::Transfer};
use crate::weights::vgg16::MAX_SOURCE_BYTES;

/// When to give up.
#[derive(Debug, Clone, Copy)]
struct RetryPolicy {
    /// Consecutive attempts without significant progress.
    attempts: u32,
    /// The pause after the first of them; each further one is twice as long.
    first_pause: Duration,
    /// Time for a server to respond, and between chunks.
    timeout: Duration,
    /// Bytes that an attempt must receive for the next failure to count as the first again.
    min_progress: u64,
    /// Maximum file size.
    max_bytes: u64,
}

const RETRY_POLICY: RetryPolicy = RetryPolicy {
    attempts: 5,
    first_pause: Duration::from_secs(1),
    timeout: Duration::from_secs(30),
    min_progress: 1 << 20,
    max_bytes: MAX_SOURCE_BYTES,
};

/// Downloads `source` to `partial`, resuming an earlier call, and verifies it.
///
/// `client` follows redirects and has no time limit for a whole request. `progress` is called with
/// the bytes received and the total, if known. Dropping the future is safe at any time: the next
/// call resumes. Only one call at a time may write the same file.
///
/// # Errors
/// The server can't be reached, returns an error, or is interrupted repeatedly (received data is
/// kept); it sends too much or another file (`partial` is removed); or the file system fails.
pub async fn download(
    client: &reqwest::Client,
    source: &Source,
    partial: &Path,
    progress: impl FnMut(u64, Option<u64>),
) -> Result<(), DownloadError> {
    download_with(RETRY_POLICY, client, source, partial, progress).await
}

/// Removes what earlier calls left at `partial`.
pub fn discard(partial: &Path) {
    Partial::new(partial).discard();
}

async fn download_with(
    policy: RetryPolicy,
    client: &reqwest::Client,
    source: &Source,
    partial: &Path,
    mut progress: impl FnMut(u64, Option<u64>),
) -> Result<(), DownloadError> {
    let partial = Partial::new(partial);
    let transfer = Transfer { client, source, partial: &partial, policy };
    // A process was killed before it could use the complete file.
    if source.bytes.is_some() && partial.length() == source.bytes {
        if verify(source, &partial).await.is_ok() {
            return Ok(());
        }
        partial.discard();
    }
    let mut failures = 0;
    let mut farthest = partial.length().unwrap_or(0);
    while let Err(error) = transfer.attempt(&mut progress).await {
        if !error.is_transient() {
            return Err(error);
        }
        // Measured from the farthest point: a server that always restarts makes no progress.
        let length = partial.length().unwrap_or(0);
        if length >= farthest + policy.min_progress {
            farthest = length;
            failures = 0;
        }
        failures += 1;
        if failures == policy.attempts {
            return Err(error);
        }
        time::sleep(policy.first_pause * 2_u32.pow(failures - 1)).await;
    }
    verify(source, &partial).await
}

/// Compares the file with its checksum; a file that does not match is removed.
async fn verify(source: &Source, partial: &Partial) -> Result<(), DownloadError> {
    let path = partial.path().to_owned();
    let checksum = source.checksum;
    let found = task::spawn_blocking(move || checksum.of(&path))
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(partial.io())?;
    if !checksum.is(&found) {
        partial.discard();
        let url = source.url.to_string();
        return Err(DownloadError::Checksum { url, expected: checksum, found: hex::encode(found) });
    }
    partial.complete();
    Ok(())
}
