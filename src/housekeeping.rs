//! Removes unreferenced files: images, images of logged
//! predictions, job folders, model files, and caches of decoded images once
//! most of their images have been deleted.
//!
//! One task of the server, at start and every hour; nothing waits for it.

use std::{collections::HashSet, fs, io, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    data_dir::DataDir,
    datasets::{self, Datasets},
    domain::{JobId, ModelId},
    error_chain::chain,
    journal::{self, Journal},
    maintenance::unreferenced::list_unreferenced,
    scheduler::{self, Scheduler},
    storage::{self, Storage, jobs, models, upkeep},
    training::cache,
};

const INTERVAL: Duration = Duration::from_secs(3600);

/// What can go wrong; the next round retries.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifests of jobs can't be read.
    #[error(transparent)]
    Scheduler(#[from] scheduler::Error),
    /// The images can't be swept.
    #[error(transparent)]
    Datasets(#[from] datasets::Error),
    /// The images of logged predictions can't be swept.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A file or folder can't be removed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The rooms of a server that are cleaned up.
#[derive(Debug)]
pub struct Housekeeper {
    /// The folders of jobs, models and caches.
    pub data_dir: Arc<DataDir>,
    /// What is known of them.
    pub storage: Storage,
    /// The images.
    pub datasets: Datasets,
    /// Which images and folders jobs still need.
    pub scheduler: Scheduler,
    /// The images of logged predictions.
    pub journal: Journal,
    /// Ends it.
    pub shutdown: CancellationToken,
}

impl Housekeeper {
    /// Cleans up now and then, until the server shuts down.
    pub async fn run(self) {
        let mut rounds = interval(INTERVAL);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = self.shutdown.cancelled() => return,
            }
            if let Err(error) = self.clean_up().await {
                tracing::warn!(error = chain(&error), "cleanup failed; retrying in an hour");
            }
        }
    }

    /// Removes everything that nothing refers to.
    ///
    /// # Errors
    /// A database or file system error.
    pub async fn clean_up(&self) -> Result<(), Error> {
        self.require_intact_database().await?;
        // If images must be kept, the rest is cleaned up all the same.
        let swept = self.sweep_images().await;
        let swept = swept.and(self.journal.clean_up().await.map_err(Error::from));
        // A job whose outcome could not be saved yet has a model without a row.
        if self.scheduler.unsaved() == 0 {
            let (jobs, models) = self.known_ids().await?;
            let data_dir = self.data_dir.clone();
            tokio::task::spawn_blocking(move || remove_unknown(&data_dir, &jobs, &models))
                .await
                .map_err(io::Error::other)??;
        }
        swept
    }

    /// A damaged page may have lost rows: the files they refer to would look unused.
    async fn require_intact_database(&self) -> Result<(), storage::Error> {
        let mut connection = self.storage.read().await?;
        let problems = upkeep::integrity(&mut connection).await?;
        let Some(first) = problems.first() else { return Ok(()) };
        tracing::error!(
            problem = first,
            "the database is damaged, and no files are cleaned up; run `pawprint doctor`"
        );
        Err(storage::Error::Damaged(first.clone()))
    }

    async fn sweep_images(&self) -> Result<(), Error> {
        let (_guard, in_use) = self.scheduler.snapshot_images().await?;
        self.datasets.sweep(in_use).await?;
        Ok(())
    }

    async fn known_ids(&self) -> Result<(HashSet<JobId>, HashSet<ModelId>), Error> {
        let mut connection = self.storage.read().await?;
        let jobs = jobs::statuses(&mut connection).await?.into_iter().map(|(id, _)| id).collect();
        let models = models::ids(&mut connection).await?;
        Ok((jobs, models.into_iter().collect()))
    }
}

fn remove_unknown(
    data_dir: &DataDir,
    jobs: &HashSet<JobId>,
    models: &HashSet<ModelId>,
) -> io::Result<()> {
    for path in list_unreferenced(&data_dir.jobs(), jobs)? {
        tracing::info!(path = %path.display(), "removing the folder of a deleted job");
        fs::remove_dir_all(path)?;
    }
    for path in list_unreferenced(&data_dir.models(), models)? {
        tracing::info!(path = %path.display(), "removing the file of a deleted model");
        fs::remove_file(path)?;
    }
    let images = walkdir::WalkDir::new(data_dir.blobs()).min_depth(2).into_iter().count();
    cache::evict_stale(&data_dir.cache(), images)
}
