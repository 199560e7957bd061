//! Reviews of datasets: computed in the background, one at a time, a while after a dataset changed and
//! while no job is running on this machine; a job ends a review, which continues afterwards with the
//! features it has.
//!
//! One task decides (here) and watches the child process (`child`). What a review found is a file in
//! its folder; `lists` serves it without what has changed since, and remembers what people decide.
//! Called by `http::reviews`; owned by `app`.

mod child;
mod decisions;
mod lists;
mod state;
mod viewed;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::{
    decisions::{Decided, Joined},
    lists::{DuplicateView, MapView, OutlierView, SuggestionView, SuspectView},
    state::{ReviewState, Status, Summary},
    viewed::ViewedImage,
};
use crate::{
    config::ServeConfig,
    data_dir::DataDir,
    datasets::{self, Datasets},
    domain::{DatasetId, job::JobError, review::Review},
    error_chain::chain,
    review::{
        events::Progress,
        spec::{RESULT, Spec},
    },
    scheduler::Scheduler,
    storage::{self, Storage, reviews},
};

/// Interval at which datasets are looked at.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// A dataset that has not changed for this long is reviewed: an upload, or a person who relabels, is
/// not done at the first change.
const SETTLED: Duration = Duration::from_secs(5);
/// Fewer images have nothing to compare.
pub const MIN_IMAGES: usize = 20;
/// Results that are kept in memory.
const MAX_RESULTS: usize = 4;
/// Says in the folder of a review that a person cancelled it, at that revision.
const CANCELLED: &str = "cancelled";

/// Errors of reviews.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The dataset can't be read.
    #[error(transparent)]
    Datasets(#[from] datasets::Error),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// There is no result yet.
    #[error(
        "the dataset has not been reviewed yet; GET /datasets/{{dataset}}/review says how far it is"
    )]
    NotReviewed,
    /// Only some lists can be decided on, and only with images of the dataset.
    #[error("{0}")]
    Invalid(String),
    /// The folder of the review can't be read or written.
    #[error("can't access the folder of the review")]
    Folder(#[from] io::Error),
}

/// A handle on the reviews.
#[derive(Debug, Clone)]
pub struct Reviews(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ServeConfig,
    data_dir: Arc<DataDir>,
    storage: Storage,
    datasets: Datasets,
    scheduler: Scheduler,
    shutdown: CancellationToken,
    wake: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when a dataset has had its revision.
    seen: HashMap<DatasetId, (i64, Instant)>,
    /// The review that is running.
    running: Option<Running>,
    /// Reviews that failed, at which revision: they are not repeated until it changes.
    failed: HashMap<DatasetId, (i64, JobError)>,
    /// Reviews that a person asked for: they don't wait for the dataset to settle.
    requested: Vec<DatasetId>,
    results: Vec<Arc<Review>>,
    /// Revisions of all results that have been read, also of those that are no longer in memory.
    reviewed: HashMap<DatasetId, i64>,
    /// How often people have decided on images.
    decisions: u64,
    /// Numbers of items that are listed, and what they follow from.
    listed: HashMap<DatasetId, (state::Basis, state::Listed)>,
}

#[derive(Debug, Clone)]
struct Running {
    dataset: DatasetId,
    progress: Option<Progress>,
    cancel: CancellationToken,
}

/// A dataset and its revision.
#[derive(Debug, Clone, Copy)]
struct Due {
    dataset: DatasetId,
    revision: i64,
}

impl Reviews {
    /// Reviews over these modules; [`Reviews::run`] starts them.
    #[must_use]
    pub fn new(
        config: ServeConfig,
        data_dir: Arc<DataDir>,
        storage: Storage,
        datasets: Datasets,
        scheduler: Scheduler,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            data_dir,
            storage,
            datasets,
            scheduler,
            shutdown,
            wake: Notify::new(),
            state: Mutex::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reviews datasets until the server shuts down; ends when the child process has.
    pub async fn run(self) {
        while !self.0.shutdown.is_cancelled() {
            let due = if self.0.scheduler.is_busy() { Ok(None) } else { self.next().await };
            match due {
                Ok(Some(due)) => {
                    if let Err(error) = self.review(due).await {
                        tracing::warn!(dataset.id = %due.dataset, error = chain(&error), "can't review a dataset");
                        let error = JobError { code: "io_error".to_owned(), detail: chain(&error) };
                        self.state().failed.insert(due.dataset, (due.revision, error));
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error = chain(&error), "can't look for datasets to review");
                }
            }
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = self.0.shutdown.cancelled() => {}
                () = tokio::time::sleep(POLL_EVERY) => {}
            }
        }
    }

    /// The next dataset to review.
    async fn next(&self) -> Result<Option<Due>, Error> {
        let revisions = {
            let mut connection = self.0.storage.read().await?;
            reviews::revisions(&mut connection).await?
        };
        self.forget_deleted(&revisions).await?;
        for (dataset, revision) in revisions {
            let due = Due { dataset, revision };
            if !self.is_settled(due) {
                continue;
            }
            if self.is_wanted(due).await? {
                return Ok(Some(due));
            }
            // It was asked for and is complete.
            self.state().requested.retain(|id| *id != dataset);
        }
        Ok(None)
    }

    /// Whether a dataset has had its revision for a while, or somebody asked for its review.
    fn is_settled(&self, Due { dataset, revision }: Due) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let seen = state.seen.entry(dataset).or_insert((revision, now));
        if seen.0 != revision {
            *seen = (revision, now);
        }
        let settled = seen.1.elapsed() >= SETTLED;
        let failed = state.failed.get(&dataset).is_some_and(|(failed, _)| *failed == revision);
        (settled || state.requested.contains(&dataset)) && !failed
    }

    /// Whether a dataset has no review of its revision, and nobody cancelled that.
    async fn is_wanted(&self, Due { dataset, revision }: Due) -> Result<bool, Error> {
        // Results are large: each is read once, and then when somebody wants to see it.
        let known = self.state().reviewed.get(&dataset).copied();
        let reviewed = match known {
            Some(reviewed) => Some(reviewed),
            None => self.result(dataset).await?.map(|it| it.revision),
        };
        Ok(reviewed != Some(revision)
            && !self.is_cancelled(dataset, revision).await
            && self.images(dataset).await? >= MIN_IMAGES)
    }

    async fn images(&self, dataset: DatasetId) -> Result<usize, Error> {
        let found = self.0.datasets.get(&dataset.to_string()).await;
        Ok(found.map_or(0, |it| (it.images + it.unlabelled) as usize))
    }

    async fn is_cancelled(&self, dataset: DatasetId, revision: i64) -> bool {
        let path = self.0.data_dir.review(dataset).join(CANCELLED);
        let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
        text.trim().parse() == Ok(revision)
    }

    async fn is_deleted(&self, dataset: DatasetId) -> bool {
        let row = self.0.datasets.row(&dataset.to_string()).await;
        matches!(row, Err(datasets::Error::NoDataset(_)))
    }

    /// Removes what is kept of datasets that are gone.
    async fn forget_deleted(&self, revisions: &[(DatasetId, i64)]) -> Result<(), Error> {
        let known = |id: &DatasetId| revisions.iter().any(|(known, _)| known == id);
        {
            let mut state = self.state();
            state.seen.retain(|id, _| known(id));
            state.failed.retain(|id, _| known(id));
            state.results.retain(|result| known(&result.dataset_id));
            state.reviewed.retain(|id, _| known(id));
            state.listed.retain(|id, _| known(id));
        }
        let known: HashSet<DatasetId> = revisions.iter().map(|(id, _)| *id).collect();
        let folder = self.0.data_dir.reviews();
        blocking(move || {
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                // Whatever else is there is not ours.
                let id = entry.file_name().to_str().and_then(|name| name.parse::<DatasetId>().ok());
                let is_gone = id.is_some_and(|id| !known.contains(&id));
                if is_gone
                    && entry.file_type()?.is_dir()
                    && let Err(error) = fs::remove_dir_all(entry.path())
                {
                    let path = entry.path();
                    tracing::warn!(path = %path.display(), %error, "can't remove the review of a deleted dataset");
                }
            }
            Ok(())
        })
        .await
    }

    /// Writes the folder of a review and runs it to its end.
    async fn review(&self, due: Due) -> Result<(), Error> {
        let dataset = due.dataset;
        let folder = self.0.data_dir.review(dataset);
        let (row, photos) = {
            let mut snapshot = self.0.storage.snapshot().await?;
            let row = storage::datasets::find(&mut snapshot, &dataset.to_string()).await?;
            let Some(row) = row else { return Ok(()) };
            (row, reviews::photos(&mut snapshot, dataset).await?)
        };
        let revision = row.revision;
        let spec = Spec {
            dataset_id: dataset,
            revision,
            classes: row.classes.names().to_vec(),
            threads: self.0.config.trainer_threads(),
            max_image_pixels: self.0.config.max_image_pixels,
            blobs: self.0.data_dir.blobs(),
            cache: self.0.data_dir.cache(),
        };
        let to = folder.clone();
        blocking(move || Ok(spec.create(&to, &photos)?)).await?;
        let cancel = CancellationToken::new();
        {
            let mut state = self.state();
            state.requested.retain(|id| *id != dataset);
            state.running = Some(Running { dataset, progress: None, cancel: cancel.clone() });
        }
        // A person may have cancelled it just before it could be told.
        if self.is_cancelled(dataset, revision).await {
            cancel.cancel();
        }
        let end = child::run(self, dataset, &folder, &cancel).await;
        self.state().running = None;
        match end? {
            child::End::Finished => {
                let mut state = self.state();
                state.results.retain(|it| it.dataset_id != dataset);
                state.reviewed.remove(&dataset);
                tracing::info!(dataset.id = %dataset, "dataset reviewed");
            }
            child::End::Interrupted => {}
            child::End::Failed(error) => {
                tracing::warn!(dataset.id = %dataset, error.code, error.detail, "a review failed");
                self.state().failed.insert(dataset, (revision, error));
            }
        }
        Ok(())
    }

    /// The last result of a dataset's review.
    async fn result(&self, dataset: DatasetId) -> Result<Option<Arc<Review>>, Error> {
        if let Some(known) = self.state().results.iter().find(|it| it.dataset_id == dataset) {
            return Ok(Some(Arc::clone(known)));
        }
        let path = self.0.data_dir.review(dataset).join(RESULT);
        let read = move || match fs::read(&path) {
            Ok(text) => match serde_json::from_slice::<Review>(&text) {
                Ok(review) => Ok(Some(Arc::new(review))),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a review is damaged; computing it again");
                    Ok(None)
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        };
        let review = blocking(read).await?;
        let mut state = self.state();
        let Some(review) = review else {
            state.reviewed.remove(&dataset);
            return Ok(None);
        };
        state.reviewed.insert(dataset, review.revision);
        state.results.retain(|it| it.dataset_id != dataset);
        if state.results.len() == MAX_RESULTS {
            state.results.remove(0);
        }
        state.results.push(Arc::clone(&review));
        Ok(Some(review))
    }
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
