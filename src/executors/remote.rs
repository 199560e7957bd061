//! Trainers on a cluster: submits each, waits for a place, notices its end, and stops it. What the
//! trainer itself reports arrives through [`super::attempts`].

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    End, JobFolder, Report, Run, StartError,
    attempts::{Attempts, Contact, Live, Registration, Token},
    cluster::{Cluster, ClusterError, Resources, Status, Submission},
    upload,
};
use crate::{
    config::ServeConfig,
    domain::{AttemptId, ModelId, Timestamp, job::JobError, recipe::DeviceChoice},
    error_chain::chain,
    storage::{
        self,
        attempts::{self, Attempt, NewAttempt},
        job_events,
    },
    training::{control::Command, events::Event, spec::Spec},
};

/// How often the cluster is asked about a trainer that waits, and about one that has reported.
const ASK_WAITING: Duration = Duration::from_secs(2);
const ASK_RUNNING: Duration = Duration::from_secs(10);
/// How long a trainer may run on a node before it reaches the server.
const FIRST_CONTACT: Duration = Duration::from_secs(120);
/// Reports that are on their way when the cluster says that the trainer has ended.
const LAST_REPORTS: Duration = Duration::from_secs(3);
/// How long a trainer that is stopped is watched.
const STOPPING: Duration = Duration::from_secs(30);
/// A trainer on a cluster may be silent for as many times as long as one on this machine: the network
/// is between.
const SILENCE: u32 = 3;

/// Starts trainers on a cluster.
#[derive(Debug, Clone)]
pub struct Remote {
    cluster: Arc<Cluster>,
    attempts: Attempts,
    server: String,
    program: PathBuf,
    cache: PathBuf,
    gpus: u32,
    memory: Option<u64>,
    wait: Duration,
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
            cluster: Arc::new(cluster),
            attempts,
            server: server.to_string(),
            program: match program {
                Some(program) => program,
                None => std::env::current_exe().context("can't find this program's path")?,
            },
            cache: settings.cluster_cache.clone(),
            gpus: settings.cluster_gpus,
            memory: settings.cluster_memory.map(Into::into),
            wait: Duration::from_secs(settings.cluster_wait.get()),
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
            executor: self.cluster.kind(),
            token_sha256: token.sha256(),
        };
        let mut transaction = self.attempts.storage().write().await?;
        attempts::insert(&mut transaction, &new).await?;
        let attempt = attempts::get(&mut transaction, new.id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        let attempt = attempt.ok_or_else(|| std::io::Error::other("the attempt is gone"))?;
        let submission = Submission {
            attempt: attempt.id,
            name: spec.name.clone(),
            program: self.program.clone(),
            url: format!("{}internal/jobs/{}/attempts/{}/", self.server, job.id, attempt.id),
            cache: self.cache.clone(),
            token,
            resources: self.resources(&spec),
        };
        Ok(self.run(&attempt, Some(submission)))
    }

    /// The run of a trainer that an earlier server has submitted. One that it has not, or whose end it
    /// has saved, has none.
    pub(super) async fn reattach(&self, job: &JobFolder) -> Result<Option<Run>, storage::Error> {
        let mut connection = self.attempts.storage().read().await?;
        let attempt = attempts::current(&mut connection, job.id).await?;
        let attempt = attempt.filter(|it| it.executor == self.cluster.kind());
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
            registration: self.attempts.register(&live),
            remote: self.clone(),
            live,
            id: attempt.external_id.clone(),
            submission,
            reports: sender,
            commands: receiver,
            kill: kill.clone(),
            give_up: Instant::now() + self.remaining(attempt.created_at),
            running_since: None,
            message: None,
        };
        let last = attempt.last_event.as_deref().and_then(|json| serde_json::from_str(json).ok());
        Run {
            reports,
            commands,
            kill,
            ended: tokio::spawn(watch.run(last)),
            silence: self.silence,
            outlives_server: true,
            compared: attempt.compared,
        }
    }

    /// How long an attempt of that time may still wait for a node.
    fn remaining(&self, created_at: Timestamp) -> Duration {
        let waited = Timestamp::now().duration_since(created_at);
        self.wait.saturating_sub(Duration::try_from(waited).unwrap_or_default())
    }
}

/// Watches one trainer.
struct Watch {
    remote: Remote,
    live: Arc<Live>,
    /// While it exists, the trainer may report.
    registration: Registration,
    /// The cluster's id, once it is submitted.
    id: Option<String>,
    /// What to submit.
    submission: Option<Submission>,
    reports: mpsc::Sender<Report>,
    commands: mpsc::UnboundedReceiver<Command>,
    kill: CancellationToken,
    /// When it has waited too long for a node.
    give_up: Instant,
    /// Since when the cluster says that it runs, if it has not reported.
    running_since: Option<Instant>,
    /// What it waits for, as saved.
    message: Option<String>,
}

/// Why the watch goes on, or ends.
type Ended = Option<End>;

impl Watch {
    /// Until the trainer has ended, or the server.
    async fn run(mut self, last: Option<Event>) -> End {
        if let Some(event) = last {
            let _ = self.reports.send(event.into()).await;
            return died("trainer_lost", "the trainer has ended".to_owned());
        }
        let mut contact = self.live.contact();
        let mut ask_at = Instant::now();
        loop {
            let at = *contact.borrow_and_update();
            if at == Contact::Finished {
                return died("trainer_lost", "the trainer has ended".to_owned());
            }
            tokio::select! {
                _ = contact.changed() => {}
                () = self.kill.cancelled() => {
                    let end = died("trainer_killed", "the trainer was stopped".to_owned());
                    return self.stop(end).await;
                }
                // The server shuts down; the trainer goes on.
                () = self.reports.closed() => {
                    return died("trainer_lost", "the server has shut down".to_owned());
                }
                Some(command) = self.commands.recv() => {
                    self.live.send(command);
                    if at == Contact::None && command == Command::Cancel {
                        let end = died("cancelled", "cancelled before it has started".to_owned());
                        return self.stop(end).await;
                    }
                }
                () = sleep_until(ask_at) => {
                    let asked = match self.id.clone() {
                        None => self.submit().await,
                        Some(id) => self.ask(&id, at).await,
                    };
                    if let Some(end) = asked {
                        return end;
                    }
                    let every = if at == Contact::None { ASK_WAITING } else { ASK_RUNNING };
                    ask_at = Instant::now() + every;
                }
            }
        }
    }

    /// Submits it; the end of the attempt if that can't succeed.
    async fn submit(&mut self) -> Ended {
        let Some(submission) = &self.submission else {
            return Some(died("trainer_lost", "the trainer was never submitted".to_owned()));
        };
        let submitted = self.remote.cluster.submit(submission).await;
        match submitted {
            Ok(id) => {
                tracing::info!(job.id = %self.live.job, attempt.id = %self.live.id, cluster.id = id, "submitted a trainer");
                let page = self.remote.cluster.page(&id);
                if let Err(error) = self.save_id(&id, page.as_deref()).await {
                    tracing::error!(job.id = %self.live.job, error = chain(&error), "can't save the id of a trainer");
                    return None;
                }
                self.id = Some(id);
                self.live.is_alive();
                None
            }
            Err(ClusterError::Refused(why)) => {
                Some(not_started("cluster_refused", format!("the job was not accepted: {why}")))
            }
            Err(ClusterError::Unreachable(why)) => self.wait(why, "cluster_unreachable").await,
        }
    }

    /// Asks the cluster how it is; the end of the attempt if it has ended.
    async fn ask(&mut self, id: &str, contact: Contact) -> Ended {
        let kind = self.remote.cluster.kind().title();
        match self.remote.cluster.status(id).await {
            Ok(Status::Ended(how)) => {
                // Its last reports may be on their way.
                sleep(LAST_REPORTS).await;
                if *self.live.contact().borrow() == Contact::Finished {
                    return None;
                }
                let how = how.map_or_else(String::new, |how| format!(" ({how})"));
                Some(died(
                    "trainer_lost",
                    format!(
                        "{kind} says that the trainer has ended, and it has reported no result{how}"
                    ),
                ))
            }
            // Its reports say the rest.
            _ if contact != Contact::None => None,
            Ok(Status::Waiting(why)) => {
                self.running_since = None;
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                let needs = self.submission.as_ref().map(|it| format!(" for {}", it.resources));
                let needs = needs.unwrap_or_default();
                self.wait(format!("waiting in {kind}{needs}{why}"), "no_place").await
            }
            Ok(Status::Running) => {
                let since = *self.running_since.get_or_insert_with(Instant::now);
                if since.elapsed() < FIRST_CONTACT {
                    self.live.is_alive();
                    return None;
                }
                let end = not_started(
                    "server_unreachable",
                    format!(
                        "the trainer runs in {kind}, but has not reached this server at {} for {} s; check --cluster-server (PAWPRINT_CLUSTER_SERVER)",
                        self.remote.server,
                        FIRST_CONTACT.as_secs()
                    ),
                );
                Some(self.stop_now(end).await)
            }
            Ok(Status::Unknown) => {
                self.wait(format!("{kind} doesn't know the trainer"), "trainer_lost").await
            }
            Err(ClusterError::Unreachable(why) | ClusterError::Refused(why)) => {
                self.wait(why, "cluster_unreachable").await
            }
        }
    }

    /// Says what it waits for; the end of the attempt if it has waited too long.
    async fn wait(&mut self, why: String, code: &str) -> Ended {
        if Instant::now() >= self.give_up {
            let seconds = self.remote.wait.as_secs();
            let detail = format!(
                "no trainer has started within {seconds} s (--cluster-wait, PAWPRINT_CLUSTER_WAIT): {why}; resume the job when there is place"
            );
            return Some(self.stop_now(not_started(code, detail)).await);
        }
        if self.message.as_ref() != Some(&why) {
            tracing::info!(job.id = %self.live.job, why, "a job waits");
            let save = async {
                let mut transaction = self.remote.attempts.storage().write().await?;
                attempts::waits_for(&mut transaction, self.live.id, Some(&why)).await?;
                job_events::current_status(&mut transaction, self.live.job).await?;
                Ok::<_, storage::Error>(transaction.commit().await?)
            };
            // The next one follows soon.
            if save.await.is_ok() {
                self.message = Some(why);
            }
        }
        self.live.is_alive();
        None
    }

    async fn save_id(&self, id: &str, page: Option<&str>) -> Result<(), storage::Error> {
        let mut transaction = self.remote.attempts.storage().write().await?;
        attempts::submitted(&mut transaction, self.live.id, id, page).await?;
        job_events::current_status(&mut transaction, self.live.job).await?;
        Ok(transaction.commit().await?)
    }

    /// Stops it on the cluster; its trainer can report nothing meanwhile.
    async fn stop(self, end: End) -> End {
        let Self { registration, id, remote, live, .. } = self;
        drop(registration);
        stop(&remote.cluster, &live, id.as_deref()).await;
        end
    }

    async fn stop_now(&self, end: End) -> End {
        stop(&self.remote.cluster, &self.live, self.id.as_deref()).await;
        end
    }
}

/// Stops a trainer on the cluster, and waits for its end for a while.
async fn stop(cluster: &Cluster, live: &Live, id: Option<&str>) {
    let Some(id) = id else { return };
    let stop = async {
        loop {
            match cluster.stop(id).await {
                Ok(()) => {}
                Err(ClusterError::Refused(_)) => return,
                Err(ClusterError::Unreachable(why)) => {
                    tracing::warn!(job.id = %live.job, why, "can't stop a trainer; retrying");
                }
            }
            match cluster.status(id).await {
                Ok(Status::Ended(_) | Status::Unknown | Status::Waiting(_)) => return,
                _ => sleep(ASK_WAITING).await,
            }
        }
    };
    if timeout(STOPPING, stop).await.is_err() {
        // Nobody listens to it: should it still run, it ends when it reports.
        tracing::warn!(job.id = %live.job, cluster.id = id, "can't see the end of a trainer that was stopped");
    }
}

fn died(code: &str, detail: String) -> End {
    End::Died(JobError { code: code.to_owned(), detail })
}

fn not_started(code: &str, detail: String) -> End {
    End::NotStarted(JobError { code: code.to_owned(), detail })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
