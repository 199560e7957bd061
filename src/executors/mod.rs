//! Where trainers run. An executor starts the trainer of a job and hands out a [`Run`]: what it
//! reports, a way to send it commands, and its end. What the scheduler does with a run doesn't depend
//! on the executor.
//!
//! | executor | its trainers | how they report |
//! |---|---|---|
//! | [`local`] | child processes | a pipe |
//! | [`remote`] | whatever runs on a cluster: [`ray`], [`slurm`] | HTTP, see [`attempts`] |

pub mod attempts;
pub mod cluster;
pub mod job_files;
pub mod local;
pub mod protocol;
pub mod ray;
pub mod remote;
pub mod slurm;
pub mod submission;
pub mod upload;
mod watch;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::{attempts::Attempts, cluster::Cluster, remote::Remote};
use crate::{
    domain::{AttemptId, JobId, ModelId, job::JobError},
    storage,
    training::{
        control::Command,
        events::{ALIVE_EVERY, Event},
    },
};

/// A trainer that runs somewhere.
#[derive(Debug)]
pub struct Run {
    /// What it reports, in order. Closed when the trainer has ended.
    pub reports: mpsc::Receiver<Report>,
    /// Commands to it.
    pub commands: mpsc::UnboundedSender<Command>,
    /// Cancelled, it kills the trainer.
    pub kill: CancellationToken,
    /// How the trainer ended, if it has not reported it.
    pub ended: JoinHandle<End>,
    /// How long it may report nothing.
    pub silence: Duration,
    /// How long it may take to end after a cancel, or after its last report.
    pub exit_timeout: Duration,
    /// Whether it continues without the server, which finds it again with [`Executor::reattach`].
    pub outlives_server: bool,
    /// The model that it evaluates on the images of the job, if it doesn't train.
    pub compared: Option<ModelId>,
}

/// The end of a run that the trainer has not reported itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The trainer died; another may do better.
    Died(JobError),
    /// None can be started.
    NotStarted(JobError),
}

/// One report of a trainer.
#[derive(Debug)]
pub struct Report {
    /// What happened.
    pub event: Event,
    /// For whoever must know that it is saved.
    pub receipt: Option<Receipt>,
}

/// Tells a trainer on another machine that its report is saved. Dropped: that it is not.
#[derive(Debug)]
pub struct Receipt {
    /// The attempt that reports.
    pub attempt: AttemptId,
    /// The number of the report.
    pub sequence: u64,
    /// Told once it is saved.
    pub saved: oneshot::Sender<()>,
}

impl From<Event> for Report {
    fn from(event: Event) -> Self {
        Self { event, receipt: None }
    }
}

/// A job whose trainer is to be started.
#[derive(Debug, Clone)]
pub struct JobFolder {
    /// The job.
    pub id: JobId,
    /// Its folder.
    pub folder: PathBuf,
}

/// Why a trainer can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The job's folder can't be read, or the process can't be started.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// What starts trainers.
#[derive(Debug, Clone)]
pub enum Executor {
    /// The server, on its own machine.
    Local {
        /// The binary, if not the running one.
        program: Option<PathBuf>,
        /// How long a trainer may report nothing.
        silence: Duration,
    },
    /// A cluster.
    Remote(Remote),
}

impl Executor {
    /// Starts the trainer of a job, or the evaluation of the model `compared` on the job's images.
    ///
    /// # Errors
    /// The job's folder can't be read, the process can't be started, or the database failed. A cluster
    /// that can't be reached is no error: the run waits for it.
    pub async fn start(
        &self,
        job: &JobFolder,
        compared: Option<(ModelId, PathBuf)>,
    ) -> Result<Run, StartError> {
        match self {
            Self::Local { program, silence } => {
                Ok(local::start(&job.folder, compared, program.as_deref(), *silence)?)
            }
            Self::Remote(remote) => remote.start(job, compared.map(|(model, _)| model)).await,
        }
    }

    /// Starts the trainer of a probe in `folder`: a child process of the server, wherever jobs run.
    ///
    /// # Errors
    /// The folder can't be written, or the process can't be started.
    pub fn probe(&self, folder: &Path) -> io::Result<Run> {
        match self {
            Self::Local { program, silence } => local::probe(folder, program.as_deref(), *silence),
            Self::Remote(_) => local::probe(folder, None, ALIVE_EVERY * 6),
        }
    }

    /// Whether its trainers run on other machines.
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// The run of a trainer that an earlier server has started and that may still run.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reattach(&self, job: &JobFolder) -> Result<Option<Run>, storage::Error> {
        match self {
            Self::Local { .. } => Ok(None),
            Self::Remote(remote) => remote.reattach(job).await,
        }
    }
}

/// The executor of these settings.
///
/// # Errors
/// A file of a token can't be read, or no HTTP client can be created.
pub fn of_config(
    config: &crate::config::ServeConfig,
    attempts: &Attempts,
) -> anyhow::Result<Executor> {
    match Cluster::new(&config.cluster)? {
        None => Ok(Executor::Local {
            program: config.trainer_program.clone(),
            silence: config.trainer_silence,
        }),
        Some(cluster) => Ok(Executor::Remote(Remote::new(config, cluster, attempts.clone())?)),
    }
}
