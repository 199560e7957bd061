//! Weights on disk: models and checkpoints, each one safetensors file, and the files that others
//! publish.
//!
//! Written by the trainer, read by the trainer, the server and `predict --model`. A file appears
//! under its name whole or not at all: it is written beside it, synced and renamed.

pub mod checkpoint;
pub mod download;
pub(crate) mod files;
pub mod model_file;
pub mod tensors;
pub mod vgg16;

use std::{io, path::PathBuf};

pub use checkpoint::Checkpoint;

/// Why a file of weights can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not a safetensors file, or one cut short.
    #[error("{path} is not a complete safetensors file")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The header lacks what this kind of file must say.
    #[error("{path} is not what it should be: {reason}")]
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
