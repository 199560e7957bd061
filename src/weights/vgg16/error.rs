//! Why weights can't be taken.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::MAX_SOURCE_BYTES;

/// Why a file of VGG16 weights can't be converted or read.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The file system refused.
    #[error("can't read or write {path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Nothing was supplied.
    #[error("the file is empty")]
    Empty,
    /// More than any file of VGG16 weights has.
    #[error("the file has {bytes} bytes; weights of VGG16 have at most {MAX_SOURCE_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Its first bytes are of no kind that we read.
    #[error(
        "the file is of no kind that VGG16 weights come in: use Keras' `.h5`, torchvision's `.pth`, or safetensors"
    )]
    UnknownKind,
    /// It begins as a kind that we read, and can't be read on.
    #[error(
        "the {kind} file is damaged, cut short, or holds something else than weights: {reason}"
    )]
    Damaged {
        /// What it begins as.
        kind: &'static str,
        /// What the reader said.
        reason: String,
    },
    /// A tensor of the base is not there.
    #[error("tensor `{tensor}` is missing: these are not the weights of a VGG16")]
    Missing {
        /// The tensor, as this kind of file calls it.
        tensor: String,
    },
    /// A tensor of the base has another shape.
    #[error("tensor `{tensor}` has shape {found:?}, and VGG16's has {expected:?}")]
    Shape {
        /// The tensor, as the file calls it.
        tensor: String,
        /// Its shape, the first few sizes at least.
        found: Vec<usize>,
        /// VGG16's, in the order of this kind of file.
        expected: Vec<usize>,
    },
    /// A tensor of the base holds another kind of number.
    #[error("tensor `{tensor}` holds {found}; weights must be f32, f16 or bf16")]
    Dtype {
        /// The tensor, as the file calls it.
        tensor: String,
        /// What it holds.
        found: String,
    },
    /// A tensor of the base holds a NaN or an infinity.
    #[error("tensor `{tensor}` holds a NaN or an infinity")]
    NotFinite {
        /// The tensor, as the file calls it.
        tensor: String,
    },
    /// Nothing tells how images must be prepared.
    #[error(
        "the file does not say how to prepare images for these weights: add `preprocessing` to the metadata in its header, a text that begins with `caffe` (BGR minus the means, as Keras does) or `torch` (RGB/255, normalised, as torchvision does)"
    )]
    NoPreprocessing,
    /// A way to prepare images that we don't know.
    #[error(
        "`preprocessing` in the file's metadata is `{found}`: it must begin with `caffe` or `torch`"
    )]
    UnknownPreprocessing {
        /// How the text begins.
        found: String,
    },
    /// A safetensors file, but not of our making, or of a later form.
    #[error("{path} is not a file of converted VGG16 weights that this pawprint reads: {reason}")]
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

    /// For `map_err`: what the system said of `path`.
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |reason| Self::Io { path: path.to_owned(), reason }
    }

    /// For `map_err`: what a reader said of a file that begins as `kind`. Readers quote what they
    /// choked on, which may be long.
    pub(super) fn damaged<E: ToString>(kind: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::Damaged { kind, reason: shortened(&error.to_string(), 300) }
    }
}

/// The first `characters` of `text`, on one line.
pub(super) fn shortened(text: &str, characters: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(characters).collect()
}
