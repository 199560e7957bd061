//! Weights on disk: tensors and checkpoints, each one safetensors file, and published pretrained
//! weights.
//!
//! Written by the trainer, read by the trainer, the server and `predict --model`. Files are written
//! atomically: to a temporary name, then synced and renamed.

pub mod checkpoint;
pub(crate) mod files;
pub(crate) mod stored;
pub mod tensors;
pub mod vgg16;

use std::{io, path::PathBuf};

pub use checkpoint::Checkpoint;

/// Why a file of weights can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system failed.
    #[error("can't access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Not a safetensors file, or a truncated one.
    #[error("{path} is not a valid safetensors file")]
    Format {
        /// The file.
        path: PathBuf,
        /// The reader's error.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The header lacks required content.
    #[error("{path} is invalid: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
}

impl Error {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}
