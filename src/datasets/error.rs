//! What can go wrong with datasets, in the words of this room; `http` makes statuses of it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{archive::ArchiveError, report::Report};
use crate::{
    domain::{ImageId, Name, dataset::Digest, excerpt::Excerpt},
    memory_budget::OverBudget,
    storage,
    vision::{DecodeError, ResizeError},
};

/// What can go wrong with datasets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No dataset has that id or name.
    #[error("there is no dataset `{}`", Excerpt(.0))]
    NoDataset(String),
    /// It was removed while an upload was under way.
    #[error("the dataset was deleted while images were on their way to it")]
    GoneDataset,
    /// No image has that id, or it is in another dataset.
    #[error("there is no image `{0}`")]
    NoImage(ImageId),
    /// The dataset has no such class.
    #[error("`{}` is not a class of this dataset; it has {classes}", Excerpt(label))]
    UnknownLabel {
        /// What was asked for.
        label: String,
        /// What there is.
        classes: String,
    },
    /// A job that isn't finished learns from it.
    #[error(
        "the job `{job}` uses the dataset `{dataset}`; cancel the job, or wait until it is finished"
    )]
    InUse {
        /// The dataset.
        dataset: Name,
        /// The job.
        job: String,
    },
    /// A body is larger than bodies may be.
    #[error("the body is larger than {max} bytes, the limit of one upload")]
    BodyTooLarge {
        /// The limit.
        max: u64,
    },
    /// A form has more parts than forms may have.
    #[error("the form has more than {max} files; send them as several requests, or as an archive")]
    TooManyFiles {
        /// The limit.
        max: u64,
    },
    /// An archive was not read to its end.
    #[error("{error}")]
    Archive {
        /// Why.
        #[source]
        error: ArchiveError,
        /// What became of the entries before that.
        report: Box<Report>,
    },
    /// The stored bytes of an image are missing, or other than they were.
    #[error("the stored bytes of image {0} are damaged or missing")]
    Damaged(Digest),
    /// Stored bytes can't be decoded, though they could be when they came.
    #[error("a stored image can't be decoded")]
    Decode(#[source] DecodeError),
    /// A decoded image can't be made smaller.
    #[error("a stored image can't be resized")]
    Resize(#[source] ResizeError),
    /// A thumbnail can't be encoded.
    #[error("a thumbnail can't be encoded")]
    Encode(#[source] image::ImageError),
    /// There is not enough memory for it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The disk did not do as asked.
    #[error("can't read or write {path}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database did not do as asked.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A thread that worked on an upload ended without a word.
    #[error("a worker thread of an upload panicked")]
    WorkerDied,
    /// The server ends.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Error {
    pub(super) fn disk(path: &Path, source: io::Error) -> Self {
        Self::Disk { path: path.to_owned(), source }
    }
}
