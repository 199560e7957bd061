//! What can go wrong with datasets; `http` maps it to statuses.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{archive::ArchiveError, report::Report};
use crate::{
    blobs,
    domain::{
        ClassName, ImageId, Name,
        class_name::InvalidClassName,
        dataset::{Digest, InvalidClasses},
        excerpt::Excerpt,
    },
    memory_budget::OverBudget,
    storage,
    vision::{DecodeError, ResizeError},
};

/// What can go wrong with datasets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An image without a label can only get one.
    #[error("the image is unlabelled; give it a label first")]
    Unlabelled,
    /// No dataset has that id or name.
    #[error("there is no dataset `{}`", Excerpt(.0))]
    NoDataset(String),
    /// It was removed during an upload.
    #[error("the dataset was deleted during the upload")]
    DatasetDeleted,
    /// No image has that id, or it is in another dataset.
    #[error("there is no image `{0}`")]
    NoImage(ImageId),
    /// The dataset has no such class.
    #[error("unknown class `{}`; this dataset has {classes}", Excerpt(label))]
    UnknownLabel {
        /// The requested class.
        label: String,
        /// The classes of the dataset.
        classes: String,
    },
    /// The dataset has no such class, by its name in a path.
    #[error("there is no class `{}`; this dataset has {classes}", Excerpt(class))]
    NoClass {
        /// The requested class.
        class: String,
        /// The classes of the dataset.
        classes: String,
    },
    /// The dataset has a class of that name.
    #[error("the dataset already has a class `{class}`{remedy}")]
    ClassExists {
        /// The class.
        class: String,
        /// What to do, after a semicolon; empty if nothing.
        remedy: &'static str,
    },
    /// A class can't be removed because it has images.
    #[error(
        "class `{class}` has {images} images: merge it into another class, or delete it with its images (`?images=delete`, on the command line `--images`)"
    )]
    ClassNotEmpty {
        /// The class.
        class: ClassName,
        /// Number of its images.
        images: u64,
    },
    /// No class can have that name.
    #[error(transparent)]
    ClassName(#[from] InvalidClassName),
    /// The new classes are not possible together.
    #[error(transparent)]
    Classes(#[from] InvalidClasses),
    /// An unfinished job uses it.
    #[error("job `{job}` uses the dataset `{dataset}`; cancel the job, or wait until it finishes")]
    InUse {
        /// The dataset.
        dataset: Name,
        /// The job.
        job: String,
    },
    /// A body exceeds the limit.
    #[error("the request body exceeds the limit of {max} bytes")]
    BodyTooLarge {
        /// The limit.
        max: u64,
    },
    /// A form has too many parts.
    #[error("the form has more than {max} files; upload them in several requests or as an archive")]
    TooManyFiles {
        /// The limit.
        max: u64,
    },
    /// An archive could not be read to its end.
    #[error("{error}")]
    Archive {
        /// The reason.
        #[source]
        error: ArchiveError,
        /// The report of the entries before that.
        report: Box<Report>,
    },
    /// The stored file of an image is missing or has changed.
    #[error("the stored file of image {0} is damaged or missing")]
    Damaged(Digest),
    /// A stored image can't be decoded, though it could be when it was uploaded.
    #[error("a stored image can't be decoded")]
    Decode(#[source] DecodeError),
    /// A decoded image can't be resized.
    #[error("a stored image can't be resized")]
    Resize(#[source] ResizeError),
    /// A thumbnail can't be encoded.
    #[error("a thumbnail can't be encoded")]
    Encode(#[source] image::ImageError),
    /// There is not enough memory for it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The file system failed.
    #[error("can't read or write {path}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A worker thread of an upload panicked.
    #[error("a worker thread of an upload panicked")]
    WorkerPanicked,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Error {
    pub(super) fn disk(path: &Path, source: io::Error) -> Self {
        Self::Disk { path: path.to_owned(), source }
    }
}

impl From<blobs::Error> for Error {
    fn from(error: blobs::Error) -> Self {
        match error {
            blobs::Error::Damaged(digest) => Self::Damaged(digest),
            blobs::Error::Disk { path, source } => Self::Disk { path, source },
        }
    }
}
