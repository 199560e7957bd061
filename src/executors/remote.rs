//! Trainers on a cluster: creates an attempt for each, and finds those again that an earlier server has
//! submitted. Each is watched by `watch`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    JobFolder, Run, StartError,
    attempts::{Attempts, Live},
    cluster::Cluster,
    submission::{Resources, Submission, Token},
    upload,
    watch::{Site, Watch},
};
use crate::{
    config::ServeConfig,
    domain::{AttemptId, ModelId, Timestamp, recipe::DeviceChoice},
    storage::{
        self,
        attempts::{self, Attempt, NewAttempt},
    },
    training::spec::Spec,
};

/// A trainer on a cluster may be silent for as many times as long as one on this machine: the network
/// is between.
const SILENCE: u32 = 3;
/// How long a trainer that an earlier server has submitted may wait at least.
const MOMENT: Duration = Duration::from_secs(120);
/// How long a trainer may take to end and to send its checkpoint.
const EXIT_TIMEOUT: Duration = Duration::from_secs(90);

/// Starts trainers on a cluster.
#[derive(Debug, Clone)]
pub struct Remote {
    site: Arc<Site>,
    program: PathBuf,
    cache: PathBuf,
    gpus: u32,
    memory: Option<u64>,
    silence: Duration,
}

impl Remote {
    /// On that cluster, with these settings.
    ///
    /// # Errors
    /// The path of this program is unknown, or the settings don't say where the server is.
    pub fn new(config: &ServeConfig, cluster: Cluster, attempts: Attempts) -> anyhow::Result<Self> {
        let settings = &config.cluster;
        let program = settings.cluster_program.clone().or_else(|| config.trainer_program.clone());
        let server = settings.cluster_server.as_ref().context("--cluster-server is missing")?;
        Ok(Self {
            site: Arc::new(Site {
                cluster,
                attempts,
                server: server.to_string(),
                wait: Duration::from_secs(settings.cluster_wait),
            }),
            program: match program {
                Some(program) => program,
                None => std::env::current_exe().context("can't find this program's path")?,
            },
            cache: settings.cluster_cache.clone(),
            gpus: settings.cluster_gpus,
            memory: settings.cluster_memory.map(Into::into),
            silence: config.trainer_silence * SILENCE,
        })
    }

    /// Starts the trainer of a job, or the evaluation of a model on its images. Ends all that came
    /// before.
    pub(super) async fn start(
        &self,
        job: &JobFolder,
        compared: Option<ModelId>,
    ) -> Result<Run, StartError> {
        let folder = job.folder.clone();
        let spec = blocking(move || {
            upload::remove_incomplete(&folder)?;
            Spec::load(&folder)
        });
        let spec = spec.await?;
        let token = Token::random().map_err(std::io::Error::other)?;
        let new = NewAttempt {
            id: AttemptId::new(),
            job: job.id,
            compared,
            executor: self.site.cluster.kind(),
            token_sha256: token.sha256(),
        };
        let mut transaction = self.site.attempts.storage().write().await?;
        attempts::insert(&mut transaction, &new).await?;
        let attempt = attempts::get(&mut transaction, new.id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        let attempt = attempt.ok_or_else(|| std::io::Error::other("the attempt is gone"))?;
        let submission = Submission {
            attempt: attempt.id,
            name: spec.name.clone(),
            program: self.program.clone(),
            url: format!("{}internal/jobs/{}/attempts/{}/", self.site.server, job.id, attempt.id),
            cache: self.cache.clone(),
            token,
            resources: self.resources(&spec),
        };
        Ok(self.run(&attempt, Some(submission)))
    }

    /// The run of a trainer that an earlier server has submitted. One that it has not, or whose end it
    /// has saved, has none.
    pub(super) async fn reattach(&self, job: &JobFolder) -> Result<Option<Run>, storage::Error> {
        let mut connection = self.site.attempts.storage().read().await?;
        let attempt = attempts::current(&mut connection, job.id).await?;
        let attempt = attempt.filter(|it| it.executor == self.site.cluster.kind());
        let Some(attempt) = attempt else { return Ok(None) };
        // Its token is known to nobody any more, so that it can't be submitted again.
        Ok(attempt.external_id.is_some().then(|| self.run(&attempt, None)))
    }

    fn resources(&self, spec: &Spec) -> Resources {
        let on_cpu = spec.params.device == DeviceChoice::Cpu;
        Resources {
            cpus: spec.threads,
            gpus: if on_cpu { 0 } else { self.gpus },
            memory: self
                .memory
                .unwrap_or_else(|| spec.recipe.trainer_memory(spec.params.batch_size)),
        }
    }

    fn run(&self, attempt: &Attempt, submission: Option<Submission>) -> Run {
        let (sender, reports) = mpsc::channel(1);
        let (commands, receiver) = mpsc::unbounded_channel();
        let kill = CancellationToken::new();
        let live = Arc::new(Live::new(attempt, sender.clone()));
        let watch = Watch {
            registration: self.site.attempts.register(&live),
            site: Arc::clone(&self.site),
            live,
            id: attempt.external_id.clone(),
            submission,
            reports: sender,
            commands: receiver,
            kill: kill.clone(),
            give_up: Instant::now() + self.remaining(attempt.created_at),
            running_since: None,
            unknown_since: None,
            begun: Instant::now(),
            message: None,
        };
        let last = attempt.last_event.as_deref().and_then(|json| serde_json::from_str(json).ok());
        Run {
            reports,
            commands,
            kill,
            ended: tokio::spawn(watch.run(last)),
            silence: self.silence,
            exit_timeout: EXIT_TIMEOUT,
            outlives_server: true,
            compared: attempt.compared,
        }
    }

    /// How long an attempt of that time may still wait for a node. A cluster that was started at the same
    /// time as the server has a moment at least.
    fn remaining(&self, created_at: Timestamp) -> Duration {
        let waited = Timestamp::now().duration_since(created_at);
        let waited = Duration::try_from(waited).unwrap_or_default();
        self.site.wait.saturating_sub(waited).max(self.site.wait.min(MOMENT))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
