//! Why weights can't be imported.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::MAX_SOURCE_BYTES;

/// Why a file of VGG16 weights can't be converted or read.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The file system failed.
    #[error("can't read or write {path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The file exceeds the size limit of VGG16 weights.
    #[error("the file has {bytes} bytes; the limit for VGG16 weights is {MAX_SOURCE_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Its first bytes are of an unknown format.
    #[error("unknown weights format; use a Keras `.h5`, torchvision `.pth` or safetensors file")]
    UnknownKind,
    /// It begins like a known format, but can't be read.
    #[error("the {kind} file is damaged, truncated or contains no weights: {reason}")]
    Damaged {
        /// The format of its beginning.
        kind: &'static str,
        /// The reader's error.
        reason: String,
    },
    /// A tensor of the base is missing.
    #[error("tensor `{tensor}` is missing; the file does not contain VGG16 weights")]
    Missing {
        /// The tensor, as this kind of file calls it.
        tensor: String,
    },
    /// A tensor of the base has another shape.
    #[error("tensor `{tensor}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor, as the file calls it.
        tensor: String,
        /// Its shape, the first few sizes at least.
        found: Vec<usize>,
        /// VGG16's, in the order of this kind of file.
        expected: Vec<usize>,
    },
    /// A tensor of the base has an unsupported number type.
    #[error("tensor `{tensor}` contains {found}; weights must be f32, f16 or bf16")]
    Dtype {
        /// The tensor, as the file calls it.
        tensor: String,
        /// What it contains.
        found: String,
    },
    /// A tensor of the base contains NaN or infinite values.
    #[error("tensor `{tensor}` contains NaN or infinite values")]
    NotFinite {
        /// The tensor, as the file calls it.
        tensor: String,
    },
    /// The required preprocessing is missing.
    #[error(
        "the file does not specify its preprocessing: add `preprocessing` to the header metadata, starting with `caffe` (BGR minus the means, as in Keras) or `torch` (RGB/255, normalised, as in torchvision)"
    )]
    NoPreprocessing,
    /// An unknown preprocessing.
    #[error(
        "unknown `preprocessing` in the file's metadata: `{found}`; it must start with `caffe` or `torch`"
    )]
    UnknownPreprocessing {
        /// How the text begins.
        found: String,
    },
    /// A safetensors file that Pawprint did not write, or with a newer format.
    #[error("{path} is not a supported converted VGG16 file: {reason}")]
    NotConverted {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
}

impl ConvertError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { reason, .. } if reason.kind() == io::ErrorKind::StorageFull)
    }

    /// For `map_err`: the system's error for `path`.
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |reason| Self::Io { path: path.to_owned(), reason }
    }

    /// For `map_err`: the reader's error for a file that begins as `kind`. Readers quote invalid
    /// input, which may be long.
    pub(super) fn damaged<E: ToString>(kind: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::Damaged { kind, reason: shortened(&error.to_string(), 300) }
    }
}

/// The first `characters` of `text`, on one line.
pub(super) fn shortened(text: &str, characters: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(characters).collect()
}
