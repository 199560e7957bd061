//! The VGG16 weights of a data directory: supplied by a person, or downloaded when a job first
//! needs them.
//!
//! Called by `http::weights`, and by the scheduler before it starts a trainer that needs them.
//! One download runs at a time, in a task of its own; whoever waits for it watches its state.
//!
//! ```text
//! weights/vgg16.safetensors   the weights, in our form
//! weights/<file>.partial      what has come of a download
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
    domain::{dataset::Digest, job::JobError},
    weights::vgg16::{self, ConvertError, Info, Normalization},
};

pub use self::fetch::{Origin, Sources};

/// Where the weights stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WeightsState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There are none yet.
    Absent,
    /// They are being downloaded.
    Downloading,
    /// They are there.
    Ready,
}

/// The weights as the API shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WeightsStatus)]
pub struct Status {
    /// Where they stand.
    pub state: State,
    /// Whose they are, or whose are being downloaded.
    pub source: Option<String>,
    /// SHA-256 of the file they came in.
    pub sha256: Option<Digest>,
    /// How images are prepared for them.
    pub preprocessing: Option<Normalization>,
    /// Bytes that have come of a download.
    pub downloaded_bytes: Option<u64>,
    /// Bytes of the download in all, where the server has said so.
    pub total_bytes: Option<u64>,
    /// Why the last download failed.
    pub error: Option<JobError>,
}

/// Why weights can't be taken in or downloaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not one of VGG16 weights.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A download is under way.
    #[error("a download is under way already")]
    Downloading,
    /// The file system refused.
    #[error("the VGG16 weights at {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
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
    /// Held while the weights are replaced: by one at a time, the status with them. That takes
    /// seconds.
    replace_lock: Mutex<()>,
    /// How often a person has supplied weights: a download that began before must not undo that.
    supplied: AtomicU64,
}

impl Pretrained {
    /// The weights in `folder`, made if it is missing; downloads come from `sources`.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn open(folder: PathBuf, sources: Sources) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        let status = match vgg16::info(&file(&folder)) {
            Ok(info) => ready(info),
            Err(error) => {
                if file(&folder).exists() {
                    tracing::error!(
                        error = crate::error_chain::chain(&error),
                        "the VGG16 weights can't be read; supply them again"
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

    /// Where the weights stand.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// The file of the weights, in our form, whether it is there or not.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        file(&self.0.folder)
    }

    /// Takes in the weights in the file at `path`, in the place of those there were; ends a
    /// download that is under way. Blocks.
    ///
    /// # Errors
    /// It is not a file of VGG16 weights, or can't be stored; nothing changes then.
    pub fn import(&self, path: &Path) -> Result<Status, Error> {
        let _guard = self.lock_weights();
        let info = vgg16::convert(path, &self.file())?;
        self.0.supplied.fetch_add(1, Ordering::Relaxed);
        if let Some(download) = self.running().take() {
            download.abort();
        }
        self.discard_partials();
        let status = ready(info);
        tracing::info!(source = status.source, "VGG16 weights are taken in");
        self.0.status.send_replace(status.clone());
        Ok(status)
    }

    /// Starts to download the weights of that origin.
    ///
    /// # Errors
    /// A download is under way.
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
                tracing::warn!(error = detail, "the VGG16 weights can't be downloaded");
                let error = JobError { code: error.code().to_owned(), detail };
                let note = move || pretrained.record_failure(since, error);
                // It does not panic.
                let _ = tokio::task::spawn_blocking(note).await;
            }
        });
        *running = Some(task.abort_handle());
        Ok(self.status())
    }

    /// Takes in what was downloaded to `path`, unless a person has supplied weights since. Blocks.
    fn replace(&self, path: &Path, since: u64) -> Result<(), ConvertError> {
        let _guard = self.lock_weights();
        if self.0.supplied.load(Ordering::Relaxed) == since {
            let info = vgg16::convert(path, &self.file())?;
            self.0.status.send_replace(ready(info));
        }
        Ok(())
    }

    /// What is there when a download has failed: the weights of before, if there were any. Blocks.
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

    /// Sees to it that the weights are there or on their way, downloading Keras' where there are
    /// none, and gives the status to watch: they are ready, coming, or can't be had.
    #[must_use]
    pub fn request(&self) -> watch::Receiver<Status> {
        let changes = self.0.status.subscribe();
        if self.status().state == State::Absent {
            // Another job may have begun it in this very moment.
            let _ = self.download(Origin::Keras);
        }
        changes
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<AbortHandle>> {
        self.0.download.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("vgg16.safetensors")
}

fn ready(info: Info) -> Status {
    Status {
        state: State::Ready,
        source: Some(info.origin),
        sha256: Some(info.source_sha256),
        preprocessing: Some(info.preprocessing),
        ..absent(None)
    }
}

const fn absent(error: Option<JobError>) -> Status {
    Status {
        state: State::Absent,
        source: None,
        sha256: None,
        preprocessing: None,
        downloaded_bytes: None,
        total_bytes: None,
        error,
    }
}
