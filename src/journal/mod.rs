//! The log of predictions, if the settings ask for one: what was predicted, of which image, by which model,
//! and what people say about it.
//!
//! `http` records predictions in a bounded queue in memory, so that no prediction waits for the disk; one task
//! of the server writes them, many at a time. Whoever reads the log writes what is queued first. If the disk
//! can't follow, predictions are dropped from the log, counted and reported.
//!
//! | module | what for |
//! |---|---|
//! | `queue` | predictions that are not written yet |
//! | `writer` | writes them, with their photos |
//! | `retention` | deletes what is older or more than the settings allow |
//! | `feedback` | what people say about a prediction |
//! | `drift` | whether new images are like those that a model was validated on |

mod drift;
mod feedback;
mod queue;
mod retention;
mod writer;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use self::queue::Queue;
pub use self::{
    drift::{Bucket, Drift},
    queue::{Counts, Recorded, RecordedImage},
};
use crate::{
    blobs::{self, Blobs},
    config::prediction_log::PredictionLogConfig,
    data_dir::DataDir,
    domain::{
        PredictionId,
        drift::Figures,
        excerpt::Excerpt,
        logged::{LoggedModel, LoggedModelSummary, LoggedPrediction},
    },
    error_chain::chain,
    memory_budget::MemoryBudget,
    storage::{
        self, Page, Storage, prediction_counts,
        prediction_pages::{self, Filter},
    },
};

/// How long predictions are gathered before they are written.
const GATHER: Duration = Duration::from_millis(200);
/// How long a disk that refused a write is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// Time between two looks for what is too old.
const RETENTION: Duration = Duration::from_secs(60);
/// Time between two complaints about a disk that refuses.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Errors of the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log has no such prediction.
    #[error(
        "there is no prediction {0} in the log: it was not logged, was deleted, or is older than what is kept"
    )]
    NoPrediction(PredictionId),
    /// There is no log.
    #[error(
        "the log of predictions is off; start the server with --prediction-log (PAWPRINT_PREDICTION_LOG=true)"
    )]
    Off,
    /// Feedback that is no class of the model.
    #[error("`{}` is not a class of the model; its classes: {classes}", Excerpt(.label))]
    UnknownLabel {
        /// What was sent.
        label: String,
        /// The classes.
        classes: String,
    },
    /// The photo of a prediction is not kept.
    #[error(
        "the image of prediction {0} is not kept; --prediction-log-photos (PAWPRINT_PREDICTION_LOG_PHOTOS=true) keeps those of new predictions"
    )]
    NoPhoto(PredictionId),
    /// The photos can't be read or written.
    #[error(transparent)]
    Photos(#[from] blobs::Error),
    /// A task of the server ended unexpectedly.
    #[error("a task of the log ended unexpectedly")]
    Task(#[from] tokio::task::JoinError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// A handle on the log.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: PredictionLogConfig,
    storage: Storage,
    photos: Blobs,
    queue: Queue,
    /// Something was queued.
    arrived: Notify,
    /// Held by whoever writes to the log or deletes from it.
    writing: Mutex<Kept>,
    /// The drift of the last hour.
    recent: Mutex<Option<RecentDrift>>,
}

/// The drift of the last hour of each model.
#[derive(Debug)]
struct RecentDrift {
    computed_at: Instant,
    figures: Vec<(LoggedModel, Figures)>,
}

/// What is known of the photos on disk.
#[derive(Debug, Default)]
struct Kept {
    /// Their bytes, once they were summed up.
    bytes: Option<u64>,
}

impl Journal {
    /// The log in that database and data directory. Queued photos take part of `memory`.
    #[must_use]
    pub fn new(
        config: PredictionLogConfig,
        data_dir: &DataDir,
        storage: Storage,
        memory: &MemoryBudget,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            storage,
            photos: Blobs::new(data_dir.prediction_photos(), data_dir.tmp()),
            queue: Queue::new(memory),
            arrived: Notify::new(),
            writing: Mutex::default(),
            recent: Mutex::default(),
        }))
    }

    /// Whether predictions are logged.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.config.prediction_log
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &PredictionLogConfig {
        &self.0.config
    }

    /// Writes predictions and deletes old ones until the server shuts down.
    pub async fn run(self, shutdown: CancellationToken) {
        // Beside each other: to delete many takes minutes, and the queue is full much sooner.
        tokio::select! {
            () = self.keep_writing() => {}
            () = self.keep_retaining() => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn keep_writing(&self) {
        let mut complained: Option<Instant> = None;
        loop {
            let Err(error) = self.flush().await else {
                self.0.arrived.notified().await;
                sleep(GATHER).await;
                continue;
            };
            if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) {
                complained = Some(Instant::now());
                tracing::error!(
                    error = chain(&error),
                    queued = self.counts().queued,
                    "can't write to the log of predictions; retrying every second"
                );
            }
            sleep(RETRY).await;
        }
    }

    async fn keep_retaining(&self) {
        loop {
            if let Err(error) = self.retain().await {
                tracing::error!(
                    error = chain(&error),
                    "can't delete old predictions from the log; retrying every minute"
                );
            }
            sleep(RETENTION).await;
        }
    }

    /// Predictions that `filter` lets through, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, filter: &Filter, limit: u32) -> Result<Page<LoggedPrediction>, Error> {
        self.flush_quietly().await;
        let mut connection = self.0.storage.read().await?;
        Ok(prediction_pages::page(&mut connection, filter, limit).await?)
    }

    /// The prediction of that id.
    ///
    /// # Errors
    /// There is none.
    pub async fn find(&self, id: PredictionId) -> Result<LoggedPrediction, Error> {
        self.flush_quietly().await;
        let mut connection = self.0.storage.read().await?;
        let found = prediction_pages::find(&mut connection, id).await?;
        found.ok_or(Error::NoPrediction(id))
    }

    /// The number in the log of the model of that name or id, if it has a prediction.
    ///
    /// # Errors
    /// The database failed.
    pub async fn model_number(&self, reference: &str) -> Result<Option<i64>, Error> {
        self.flush_quietly().await;
        let mut connection = self.0.storage.read().await?;
        let model = prediction_counts::model(&mut connection, reference).await?;
        Ok(model.map(|model| model.number))
    }

    /// The bytes of a prediction's photo.
    ///
    /// # Errors
    /// There is no such prediction, or its photo is not kept.
    pub async fn photo(&self, id: PredictionId) -> Result<(LoggedPrediction, Vec<u8>), Error> {
        let found = self.find(id).await?;
        if !found.photo {
            return Err(Error::NoPhoto(id));
        }
        let (photos, sha256) = (self.0.photos.clone(), found.sha256);
        let bytes = tokio::task::spawn_blocking(move || photos.read(&sha256)).await?;
        match bytes {
            Ok(bytes) => Ok((found, bytes)),
            // Deleted since, or lost in a power cut: photos of predictions are not synced.
            Err(blobs::Error::Damaged(_)) => Err(Error::NoPhoto(id)),
            Err(error) => Err(error.into()),
        }
    }

    /// What the log holds of each model, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn summary(&self) -> Result<Vec<LoggedModelSummary>, Error> {
        self.flush_quietly().await;
        let mut snapshot = self.0.storage.snapshot().await?;
        Ok(prediction_counts::summary(&mut snapshot).await?)
    }
}
