//! The state that every handler can access.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access, comparisons::Comparisons, config::ServeConfig, data_dir::DataDir,
    datasets::Datasets, executors::attempts::Attempts, journal::Journal,
    memory_budget::MemoryBudget, metrics::Metrics, pretrained::Pretrained, registry::Registry,
    reviews::Reviews, scheduler::Scheduler, shadow::Shadows, storage::Storage, webhooks::Webhooks,
};

/// The modules of a running server.
#[derive(Debug)]
pub struct App {
    /// Its settings.
    pub config: ServeConfig,
    /// Its folder.
    pub data_dir: Arc<DataDir>,
    /// Its database.
    pub storage: Storage,
    /// Its API tokens.
    pub access: Access,
    /// Its datasets.
    pub datasets: Datasets,
    /// Its VGG16 weights.
    pub pretrained: Pretrained,
    /// Its jobs.
    pub scheduler: Scheduler,
    /// Its jobs' trainers on other machines.
    pub attempts: Attempts,
    /// Its reviews of datasets.
    pub reviews: Reviews,
    /// Its models.
    pub registry: Registry,
    /// The model that answers requests beside the one in service, if any.
    pub shadow: Shadows,
    /// Its webhooks.
    pub webhooks: Webhooks,
    /// Its comparisons of models.
    pub comparisons: Comparisons,
    /// Its log of predictions.
    pub journal: Journal,
    /// What it counts.
    pub metrics: Metrics,
    /// The memory budget that all requests share.
    pub memory: MemoryBudget,
    /// A permit for each image that may be decoded at the same time.
    pub decoders: Arc<Semaphore>,
    /// A permit for each prediction request in progress, taken when its body has been read; more
    /// are rejected.
    pub admitted: Arc<Semaphore>,
    /// A permit for each upload in progress; more are rejected.
    pub uploads: Arc<Semaphore>,
    /// Cancelled when the server begins to shut down: streams end, nothing new starts.
    pub shutdown: CancellationToken,
}

/// [`App`], as handlers receive it.
pub type AppState = Arc<App>;
