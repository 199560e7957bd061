//! The queue of jobs: accepts them, runs a few at a time through an executor, and saves their outcomes.
//!
//! One task ticks (here), one task watches each running trainer (`supervisor`); what trainers
//! report goes into rows through `progress`. Called by `http::jobs`; owned by `app`.

mod blocking;
mod commands;
mod compare;
mod outcome;
mod outlook;
mod probe;
mod progress;
mod supervisor;
mod trainable;
mod weights;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{commands::NewJob, outlook::Outlook, trainable::CreatedJob};
use self::{
    outcome::{RequestedExit, TrainerExit},
    probe::Probes,
    supervisor::Slot,
};
use crate::{
    config::ServeConfig,
    data_dir::DataDir,
    datasets::{self, Datasets},
    domain::{
        JobId,
        excerpt::Excerpt,
        job::{ControlRequest, JobStatus},
        parameters::InvalidParam,
    },
    executors::{Executor, Run},
    pretrained::Pretrained,
    registry::Registry,
    storage::{self, Storage, attempts, job_events, jobs, webhooks},
    training::control::Command,
};

/// Interval at which the queue is checked even if nothing woke the scheduler.
const POLL_EVERY: Duration = Duration::from_secs(10);

/// Errors of the scheduler.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No job has that name or id.
    #[error("there is no job `{}`", Excerpt(.0))]
    NoSuchJob(String),
    /// A class lacks training or validation images.
    #[error("{0}")]
    NotTrainable(String),
    /// A parameter is invalid.
    #[error(transparent)]
    Param(#[from] InvalidParam),
    /// The job of `head_from` can't be used.
    #[error("params.head_from: {0}")]
    Head(String),
    /// The job's status does not allow it.
    #[error("the job is {status}; {rule}")]
    Status {
        /// The job's status.
        status: JobStatus,
        /// What is required.
        rule: &'static str,
    },
    /// The job needs more than there is.
    #[error("{}", probe::shortage(.resource, *.needed, *.available))]
    DoesNotFit {
        /// `memory` or `disk`.
        resource: &'static str,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// Another job is being probed.
    #[error("the server is measuring another job; try again in a few seconds")]
    ProbeRunning,
    /// A probe downloads nothing.
    #[error(
        "the {0} weights are not on this server yet: `pawprint weights fetch` (POST /weights/vgg16/download) downloads them, then the job can be measured"
    )]
    WeightsMissing(&'static str),
    /// The server shuts down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The job's folder can't be written or removed.
    #[error("can't access the job folder")]
    Folder(#[source] io::Error),
    /// The dataset can't be read.
    #[error(transparent)]
    Datasets(#[from] datasets::Error),
    /// The database's own.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// A handle on the scheduler.
#[derive(Debug, Clone)]
pub struct Scheduler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ServeConfig,
    data_dir: Arc<DataDir>,
    storage: Storage,
    datasets: Datasets,
    pretrained: Pretrained,
    registry: Registry,
    executor: Executor,
    /// Trainers that an earlier server has started, until this one runs.
    attached: Mutex<HashMap<JobId, Run>>,
    shutdown: CancellationToken,
    wake: Notify,
    /// Changes whenever a row of a job does; watchers look again.
    changed: watch::Sender<()>,
    /// The trainers that run, by their jobs.
    running: Mutex<HashMap<JobId, mpsc::UnboundedSender<Command>>>,
    /// Jobs whose trainers have ended, but whose outcomes could not be saved.
    unfinalized: Mutex<HashMap<JobId, (TrainerExit, RequestedExit)>>,
    probes: Probes,
    /// Writes of jobs' states that have failed and are being retried.
    retrying: AtomicUsize,
    supervisors: TaskTracker,
    /// Held while a job takes its snapshot, and while images are swept.
    snapshot_lock: tokio::sync::Mutex<()>,
}

/// What a scheduler works with.
#[derive(Debug)]
pub struct Modules {
    /// The server's folder.
    pub data_dir: Arc<DataDir>,
    /// Its database.
    pub storage: Storage,
    /// Its datasets.
    pub datasets: Datasets,
    /// Its VGG16 weights.
    pub pretrained: Pretrained,
    /// Its models.
    pub registry: Registry,
    /// What starts its trainers.
    pub executor: Executor,
}

/// The result of a tick.
enum Tick {
    /// It started a job; there may be more.
    Started,
    /// Nothing to do until something changes.
    Idle,
}

impl Scheduler {
    /// A scheduler over these modules; [`Scheduler::run`] starts it.
    #[must_use]
    pub fn new(config: ServeConfig, modules: Modules, shutdown: CancellationToken) -> Self {
        let Modules { data_dir, storage, datasets, pretrained, registry, executor } = modules;
        Self(Arc::new(Inner {
            config,
            data_dir,
            storage,
            datasets,
            pretrained,
            registry,
            executor,
            attached: Mutex::default(),
            shutdown,
            wake: Notify::new(),
            changed: watch::channel(()).0,
            running: Mutex::default(),
            unfinalized: Mutex::default(),
            probes: Probes::default(),
            retrying: AtomicUsize::new(0),
            supervisors: TaskTracker::new(),
            snapshot_lock: tokio::sync::Mutex::default(),
        }))
    }

    /// Runs jobs until the server shuts down; ends when every trainer has.
    pub async fn run(self) {
        for (id, run) in std::mem::take(&mut *self.attached()) {
            self.spawn(id, Some(run));
        }
        while !self.0.shutdown.is_cancelled() {
            let wait = match self.tick().await {
                Ok(Tick::Started) => continue,
                Ok(Tick::Idle) => POLL_EVERY,
                Err(error) => {
                    tracing::error!(
                        error = crate::error_chain::chain(&error),
                        "can't read the job queue"
                    );
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = self.0.shutdown.cancelled() => {}
                () = sleep(wait) => {}
            }
        }
        self.0.supervisors.close();
        self.0.supervisors.wait().await;
    }

    /// Requeues the jobs that were running when the previous server ended, in whatever way, but for those
    /// whose trainers run on a cluster. The attempt counts: a job that brings the whole machine down must not be retried forever.
    ///
    /// # Errors
    /// The database's own.
    pub async fn recover(&self) -> Result<(), Error> {
        let running = {
            let mut connection = self.0.storage.read().await?;
            jobs::with_status(&mut connection, JobStatus::Running).await?
        };
        for &id in &running {
            if let Some(run) = self.0.executor.reattach(&self.folder(id)).await? {
                tracing::info!(job.id = %id, "found the trainer of a job on the cluster");
                self.attached().insert(id, run);
            }
        }
        let mut transaction = self.0.storage.write().await?;
        for id in running {
            if self.attached().contains_key(&id) {
                continue;
            }
            let Some(job) = jobs::get(&mut transaction, id).await? else { continue };
            if jobs::requested(&mut transaction, id).await? == Some(ControlRequest::Cancel) {
                jobs::finish(&mut transaction, id, JobStatus::Running, JobStatus::Cancelled, None)
                    .await?;
            } else if attempts::current(&mut transaction, id).await?.is_some() {
                // It waited for a cluster: nothing has run.
                let attempts = job.attempts.saturating_sub(1);
                jobs::requeue(&mut transaction, id, JobStatus::Running, attempts).await?;
            } else if job.attempts >= outcome::MAX_ATTEMPTS {
                let error = outcome::server_crash_error();
                let (from, to) = (JobStatus::Running, JobStatus::Interrupted);
                jobs::finish(&mut transaction, id, from, to, Some(&error)).await?;
            } else {
                jobs::requeue(&mut transaction, id, JobStatus::Running, job.attempts).await?;
                tracing::info!(job.id = %id, "requeued a job left running by the previous server");
            }
            job_events::current_status(&mut transaction, id).await?;
            webhooks::job_ended(&mut transaction, id).await?;
        }
        transaction.commit().await.map_err(storage::Error::from)?;
        Ok(())
    }

    /// Changes whenever a job does.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Whether a job is running on this machine: on a cluster, it takes nothing here.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.0.executor.is_remote() && !self.running().is_empty()
    }

    /// The number of states and outcomes of jobs that can't be saved at the moment.
    #[must_use]
    pub fn unsaved(&self) -> usize {
        self.0.retrying.load(Relaxed) + self.unfinalized().len()
    }

    async fn tick(&self) -> Result<Tick, Error> {
        self.finalize_pending().await;
        if self.running().len() >= self.0.config.max_running_jobs.get() {
            return Ok(Tick::Idle);
        }
        let mut transaction = self.0.storage.write().await?;
        let Some(id) = jobs::claim_next(&mut transaction).await? else { return Ok(Tick::Idle) };
        job_events::current_status(&mut transaction, id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.0.changed.send_replace(());
        self.spawn(id, None);
        Ok(Tick::Started)
    }

    /// Runs a job to its end, in a task of its own.
    fn spawn(&self, id: JobId, attached: Option<Run>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.running().insert(id, sender);
        let slot = Slot { scheduler: self.clone(), id };
        self.0.supervisors.spawn(slot.execute(receiver, attached));
    }

    fn attached(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Run>> {
        self.0.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unfinalized(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<JobId, (TrainerExit, RequestedExit)>> {
        self.0.unfinalized.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, mpsc::UnboundedSender<Command>>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
