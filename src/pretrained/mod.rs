//! The weights of base networks that are not embedded in the binary, so far VGG16's: uploaded by a
//! user, or downloaded when a job first needs them.
//!
//! Called by `http::weights`, and by the scheduler before it starts a trainer that needs them.
//! One download runs at a time, in a task of its own; whoever waits for it watches its state.
//!
//! ```text
//! weights/vgg16.safetensors   the weights, in our form
//! weights/<file>.partial      a partial download
//! ```

pub mod download;
mod fetch;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::AbortHandle};
use utoipa::ToSchema;

use crate::{
    domain::{
        base::{Base, ShippedWeights, VGG16},
        dataset::Digest,
        job::JobError,
        preprocessing::Normalization,
    },
    weights::vgg16::{self, ConvertError, Info},
};

pub use self::fetch::{Origin, Sources};

/// Status of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WeightsState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Embedded in the binary.
    Shipped,
    /// Not installed.
    Absent,
    /// Downloading.
    Downloading,
    /// Installed.
    Ready,
}

/// Status of the weights of a base network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WeightsStatus)]
pub struct Status {
    /// The base network.
    pub base: &'static str,
    /// Status.
    pub state: State,
    /// Publisher of the installed weights or of the running download; package of the shipped ones.
    pub source: Option<String>,
    /// SHA-256 of the source file.
    pub sha256: Option<Digest>,
    /// How bytes become input of the network: `caffe`, BGR in 0 to 255 minus a mean; `torch`, RGB
    /// divided by 255, minus a mean and divided by a deviation; `centred`, RGB minus 127 and divided
    /// by 128.
    #[schema(value_type = Option<String>)]
    pub preprocessing: Option<Normalization>,
    /// Bytes downloaded so far.
    pub downloaded_bytes: Option<u64>,
    /// Total download size in bytes, if known.
    pub total_bytes: Option<u64>,
    /// Error of the last download, if it failed.
    pub error: Option<JobError>,
}

/// Why weights can't be imported or downloaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file does not contain VGG16 weights.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A download is already running.
    #[error("a download is already in progress")]
    Downloading,
    /// The file system failed.
    #[error("can't access the VGG16 weights at {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// A handle on the weights.
#[derive(Debug, Clone)]
pub struct Pretrained(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    sources: Sources,
    status: watch::Sender<Status>,
    download: Mutex<Option<AbortHandle>>,
    /// Held while the weights and their status are replaced, one import at a time. That takes
    /// seconds.
    replace_lock: Mutex<()>,
    /// Number of uploads: a download that began before an upload must not replace it.
    supplied: AtomicU64,
}

impl Status {
    /// The status of weights that are embedded in the binary.
    #[must_use]
    pub fn shipped(base: &Base, weights: &ShippedWeights) -> Self {
        Self {
            base: base.id(),
            state: State::Shipped,
            source: Some(weights.origin.to_owned()),
            sha256: Some(weights.sha256),
            preprocessing: Some(weights.normalise),
            ..absent(None)
        }
    }
}

impl Pretrained {
    /// The weights in `folder`, created if it is missing; downloads come from `sources`.
    ///
    /// # Errors
    /// The folder can't be created.
    pub fn open(folder: PathBuf, sources: Sources) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        let status = match vgg16::info(&file(&folder)) {
            Ok(info) => ready(info),
            Err(error) => {
                if file(&folder).exists() {
                    tracing::error!(
                        error = crate::error_chain::chain(&error),
                        "can't read the VGG16 weights; import them again"
                    );
                }
                absent(None)
            }
        };
        let (status, _) = watch::channel(status);
        let inner = Inner {
            folder,
            sources,
            status,
            download: Mutex::default(),
            replace_lock: Mutex::default(),
            supplied: AtomicU64::new(0),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Status of the weights.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// The file of the weights, in our format, whether it exists or not.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        file(&self.0.folder)
    }

    /// Imports the weights in the file at `path`, in place of existing ones; cancels a running
    /// download. Blocks.
    ///
    /// # Errors
    /// It does not contain VGG16 weights, or can't be stored; nothing changes then.
    pub fn import(&self, path: &Path) -> Result<Status, Error> {
        let _guard = self.lock_weights();
        let info = vgg16::convert(path, &self.file())?;
        self.0.supplied.fetch_add(1, Ordering::Relaxed);
        if let Some(download) = self.running().take() {
            download.abort();
        }
        self.discard_partials();
        let status = ready(info);
        tracing::info!(source = status.source, "imported VGG16 weights");
        self.0.status.send_replace(status.clone());
        Ok(status)
    }

    /// Starts to download the weights of that origin.
    ///
    /// # Errors
    /// A download is already running.
    pub fn download(&self, origin: Origin) -> Result<Status, Error> {
        let mut running = self.running();
        if running.as_ref().is_some_and(|download| !download.is_finished()) {
            return Err(Error::Downloading);
        }
        self.0.status.send_modify(|status| {
            *status = Status {
                state: State::Downloading,
                source: Some(origin.as_str().to_owned()),
                ..absent(None)
            };
        });
        let pretrained = self.clone();
        let since = self.0.supplied.load(Ordering::Relaxed);
        let task = tokio::spawn(async move {
            if let Err(error) = pretrained.fetch(origin, since).await {
                let detail = crate::error_chain::chain(&error);
                tracing::warn!(error = detail, "can't download the VGG16 weights");
                let error = JobError { code: error.code().to_owned(), detail };
                let note = move || pretrained.record_failure(since, error);
                // It does not panic.
                let _ = tokio::task::spawn_blocking(note).await;
            }
        });
        *running = Some(task.abort_handle());
        Ok(self.status())
    }

    /// Imports the file downloaded to `path`, unless a user has uploaded weights since. Blocks.
    fn replace(&self, path: &Path, since: u64) -> Result<(), ConvertError> {
        let _guard = self.lock_weights();
        if self.0.supplied.load(Ordering::Relaxed) == since {
            let info = vgg16::convert(path, &self.file())?;
            self.0.status.send_replace(ready(info));
        }
        Ok(())
    }

    /// The status after a failed download: that of the previous weights, if any. Blocks.
    fn record_failure(&self, since: u64, error: JobError) {
        let _guard = self.lock_weights();
        if self.0.supplied.load(Ordering::Relaxed) == since {
            self.0.status.send_replace(match vgg16::info(&self.file()) {
                Ok(info) => Status { error: Some(error), ..ready(info) },
                Err(_) => absent(Some(error)),
            });
        }
    }

    fn lock_weights(&self) -> std::sync::MutexGuard<'_, ()> {
        self.0.replace_lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ensures that the weights are installed or being downloaded, starting a download of Keras' if
    /// there are none, and returns the status to watch.
    #[must_use]
    pub fn request(&self) -> watch::Receiver<Status> {
        let changes = self.0.status.subscribe();
        if self.status().state == State::Absent {
            // Another job may have started it at the same time.
            let _ = self.download(Origin::Keras);
        }
        changes
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<AbortHandle>> {
        self.0.download.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(VGG16.weights_file())
}

fn ready(info: Info) -> Status {
    Status {
        state: State::Ready,
        source: Some(info.origin),
        sha256: Some(info.source_sha256),
        preprocessing: Some(info.preprocessing.into()),
        ..absent(None)
    }
}

const fn absent(error: Option<JobError>) -> Status {
    Status {
        base: VGG16.id(),
        state: State::Absent,
        source: None,
        sha256: None,
        preprocessing: None,
        downloaded_bytes: None,
        total_bytes: None,
        error,
    }
}
