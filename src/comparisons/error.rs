//! Why two models can't be compared.

use std::{io, sync::Arc};

use crate::{domain::excerpt::Excerpt, error_chain::chain, registry, storage};

/// Why two models can't be compared.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such job.
    #[error("there is no job `{}`", Excerpt(.0))]
    NoSuchJob(String),
    /// Neither model has a job, and none is named.
    #[error(
        "the jobs of both models have been deleted; name another job, whose test images they are compared on"
    )]
    NoJob,
    /// The job has no test images, or none is stored any more.
    #[error("the job `{0}` has no test images that are still stored; name another job")]
    NoTestImages(String),
    /// A model has different classes than the test images.
    #[error(
        "`{model}` has different classes ({theirs}) than the test images of the job `{job}` ({ours})"
    )]
    OtherClasses {
        /// The model's name.
        model: String,
        /// Its classes.
        theirs: String,
        /// The job's name.
        job: String,
        /// Its classes.
        ours: String,
    },
    /// Somebody cancelled it.
    #[error("the comparison was cancelled")]
    Cancelled,
    /// Too many are waiting.
    #[error("too many comparisons are waiting; try again later")]
    Busy,
    /// The server shuts down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A model can't be used.
    #[error("{0}")]
    Unusable(String),
    /// A model can't predict, for the reason in the log.
    #[error("a model can't be evaluated: {0}")]
    Failed(String),
    /// The database failed.
    #[error(transparent)]
    Storage(Arc<storage::Error>),
    /// A file can't be read.
    #[error("can't read a file of a job")]
    Io(#[source] Arc<io::Error>),
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        match error {
            registry::Error::Storage(error) => error.into(),
            error => Self::Unusable(chain(&error)),
        }
    }
}
