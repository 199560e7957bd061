//! One trainer on a cluster, from its submission to its end: waits for a place, notices how it ends, and
//! stops it. What it reports itself arrives through [`super::attempts`].

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    End, Report,
    attempts::{Attempts, Contact, Live, Registration},
    cluster::Cluster,
    submission::{ClusterError, Status, Submission},
};
use crate::{
    domain::job::JobError,
    error_chain::chain,
    storage::{self, attempts, job_events},
    training::{control::Command, events::Event},
};

/// How often the cluster is asked about a trainer that waits, and about one that has reported.
const ASK_WAITING: Duration = Duration::from_secs(2);
const ASK_RUNNING: Duration = Duration::from_secs(10);
/// How long a trainer may run on a node before it reaches the server.
const FIRST_CONTACT: Duration = Duration::from_secs(120);
/// Reports that are on their way when the cluster says that the trainer has ended.
const LAST_REPORTS: Duration = Duration::from_secs(3);
/// A trainer that reports nothing for this long may be lost, if the cluster says so: each reports every
/// two seconds.
const LOST: Duration = Duration::from_secs(15);
/// Who waited for this long, and never ran, found no place.
const LONG_WAIT: Duration = Duration::from_secs(60);
/// How long a trainer that is stopped is watched.
const STOPPING: Duration = Duration::from_secs(30);

/// What all trainers of a server have in common.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) cluster: Cluster,
    pub(super) attempts: Attempts,
    /// URL of the server, as the nodes reach it.
    pub(super) server: String,
    /// How long a trainer may wait for a node.
    pub(super) wait: Duration,
}

/// Watches one trainer.
pub(super) struct Watch {
    pub(super) site: Arc<Site>,
    pub(super) live: Arc<Live>,
    /// While it exists, the trainer may report.
    pub(super) registration: Registration,
    /// The cluster's id, once it is submitted.
    pub(super) id: Option<String>,
    /// What to submit.
    pub(super) submission: Option<Submission>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) kill: CancellationToken,
    /// When it has waited too long for a node.
    pub(super) give_up: Instant,
    /// Since when the cluster says that it runs, if it has not reported.
    pub(super) running_since: Option<Instant>,
    /// Since when the cluster doesn't know it.
    pub(super) unknown_since: Option<Instant>,
    /// When the watch began.
    pub(super) begun: Instant,
    /// What it waits for, as saved.
    pub(super) message: Option<String>,
}

/// The end of an attempt, if it has come.
type Ended = Option<End>;

impl Watch {
    /// Until the trainer has ended, or the server.
    pub(super) async fn run(mut self, last: Option<Event>) -> End {
        let end = match last {
            Some(event) => {
                let _ = self.reports.send(event.into()).await;
                died("trainer_lost", "the trainer has ended".to_owned())
            }
            None => self.follow().await,
        };
        // From here on, nothing that the trainer sends has an effect.
        drop(self.registration);
        drop(self.reports);
        self.live.close().await;
        end
    }

    async fn follow(&mut self) -> End {
        let mut contact = self.live.contact();
        let (mut ask_at, mut pause) = (Instant::now(), ASK_WAITING);
        loop {
            let at = *contact.borrow_and_update();
            if at == Contact::Finished {
                return died("trainer_lost", "the trainer has ended".to_owned());
            }
            tokio::select! {
                _ = contact.changed() => {}
                () = self.kill.cancelled() => {
                    self.live.close().await;
                    self.stop().await;
                    return died("trainer_killed", "the trainer was stopped".to_owned());
                }
                // The server shuts down; the trainer goes on.
                () = self.reports.closed() => {
                    return died("trainer_lost", "the server has shut down".to_owned());
                }
                Some(command) = self.commands.recv() => {
                    self.live.send(command);
                    if at == Contact::None && command == Command::Cancel {
                        self.live.close().await;
                        self.stop().await;
                        return died("cancelled", "cancelled before it has started".to_owned());
                    }
                }
                () = sleep_until(ask_at) => {
                    let asked = match self.id.clone() {
                        None => self.submit().await,
                        Some(id) => self.ask(&id).await,
                    };
                    if let Some(end) = asked {
                        return end;
                    }
                    pause = if at == Contact::None { pause.mul_f64(1.3).min(ASK_RUNNING) } else { ASK_RUNNING };
                    ask_at = Instant::now() + pause;
                }
            }
        }
    }

    /// Submits it; the end of the attempt if that can't succeed.
    async fn submit(&mut self) -> Ended {
        let Some(submission) = &self.submission else {
            return Some(died("trainer_lost", "the trainer was never submitted".to_owned()));
        };
        let submitted = self.site.cluster.submit(submission).await;
        match submitted {
            Ok(id) => {
                tracing::info!(job.id = %self.live.job, attempt.id = %self.live.id, cluster.id = id, "submitted a trainer");
                let page = self.site.cluster.page(&id);
                if let Err(error) = self.save_id(&id, page.as_deref()).await {
                    tracing::error!(job.id = %self.live.job, error = chain(&error), "can't save the id of a trainer");
                    return None;
                }
                (self.id, self.message) = (Some(id), None);
                self.is_alive();
                None
            }
            Err(ClusterError::Refused(why)) => Some(not_started("cluster_refused", why)),
            Err(ClusterError::Unreachable(why)) => self.wait(why, "cluster_unreachable").await,
        }
    }

    /// Asks the cluster how it is; the end of the attempt if it has ended.
    async fn ask(&mut self, id: &str) -> Ended {
        let kind = self.site.cluster.kind().title();
        let status = self.site.cluster.status(id).await;
        let is_known = |live: &Live| *live.contact().borrow() != Contact::None;
        if !matches!(status, Ok(Status::Unknown)) {
            self.unknown_since = None;
        }
        match status {
            Ok(Status::Ended(how)) => {
                // Its first or last reports may be on their way, and those say more.
                sleep(LAST_REPORTS).await;
                if is_known(&self.live) && self.live.silent_for() < LOST {
                    return None;
                }
                Some(self.ended(kind, how))
            }
            // Its reports say the rest.
            _ if is_known(&self.live) => None,
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
                    self.say("started; waiting for its first report".to_owned()).await;
                    return None;
                }
                let end = not_started(
                    "server_unreachable",
                    format!(
                        "the trainer runs in {kind}, but has not reached this server at {} for {} s; check --cluster-server (PAWPRINT_CLUSTER_SERVER)",
                        self.site.server,
                        FIRST_CONTACT.as_secs()
                    ),
                );
                self.stop().await;
                Some(end)
            }
            Ok(Status::Unknown) => {
                let since = *self.unknown_since.get_or_insert_with(Instant::now);
                if since.elapsed() < LOST {
                    self.is_alive();
                    return None;
                }
                // A head that was started again remembers nothing.
                Some(died("trainer_lost", format!("{kind} no longer knows the trainer")))
            }
            Err(ClusterError::Unreachable(why) | ClusterError::Refused(why)) => {
                self.wait(why, "cluster_unreachable").await
            }
        }
    }

    /// What it means that the cluster says that the trainer has ended, without a result.
    fn ended(&self, kind: &str, how: Option<String>) -> End {
        let how = how.map_or_else(String::new, |how| format!(" ({how})"));
        let ran = self.running_since.map(|since| since.elapsed());
        if *self.live.contact().borrow() != Contact::None || ran.is_some_and(|ran| ran > LOST) {
            let detail = format!(
                "{kind} says that the trainer has ended, and it has reported no result{how}"
            );
            return died("trainer_lost", detail);
        }
        if ran.is_none() && self.begun.elapsed() > LONG_WAIT {
            return not_started("no_place", format!("{kind} has given up waiting for a node{how}"));
        }
        let program = self
            .submission
            .as_ref()
            .map_or_else(String::new, |submission| format!("`{}` ", submission.program.display()));
        not_started(
            "trainer_not_started",
            format!(
                "{program}ended on the node before it reached this server{how}; check --cluster-program, --cluster-server and the log in {kind}"
            ),
        )
    }

    /// Says what it waits for; the end of the attempt if it has waited too long. As long as other
    /// trainers of this server run, a place may become free.
    async fn wait(&mut self, why: String, code: &str) -> Ended {
        if self.site.attempts.others_run(self.live.job) {
            self.give_up = self.give_up.max(Instant::now() + self.site.wait);
        }
        if Instant::now() >= self.give_up {
            let seconds = self.site.wait.as_secs();
            let detail = format!(
                "no trainer has started within {seconds} s (--cluster-wait, PAWPRINT_CLUSTER_WAIT): {why}"
            );
            self.stop().await;
            return Some(not_started(code, detail));
        }
        self.say(why).await;
        None
    }

    /// Shows what it waits for.
    async fn say(&mut self, why: String) {
        if self.message.as_ref() != Some(&why) {
            tracing::info!(job.id = %self.live.job, why, "a job waits");
            let save = async {
                let mut transaction = self.site.attempts.storage().write().await?;
                attempts::waits_for(&mut transaction, self.live.id, Some(&why)).await?;
                job_events::current_status(&mut transaction, self.live.job).await?;
                Ok::<_, storage::Error>(transaction.commit().await?)
            };
            // The next one follows soon.
            if save.await.is_ok() {
                self.message = Some(why);
            }
        }
        self.is_alive();
    }

    /// Reports for the trainer: as far as the cluster knows, it is alive.
    fn is_alive(&self) {
        // Full: there is a report already.
        let _ = self.reports.try_send(Event::Alive.into());
    }

    async fn save_id(&self, id: &str, page: Option<&str>) -> Result<(), storage::Error> {
        let mut transaction = self.site.attempts.storage().write().await?;
        attempts::submitted(&mut transaction, self.live.id, id, page).await?;
        job_events::current_status(&mut transaction, self.live.job).await?;
        Ok(transaction.commit().await?)
    }

    /// Stops it on the cluster, and waits for its end for a while. One whose submission was not confirmed
    /// may be there all the same.
    async fn stop(&self) {
        let (live, cluster) = (&self.live, &self.site.cluster);
        let id = self.id.clone().or_else(|| cluster.id_of(live.id));
        let Some(id) = id else { return };
        let stop = async {
            loop {
                match cluster.stop(&id).await {
                    Ok(()) => {}
                    Err(ClusterError::Refused(_)) => return,
                    Err(ClusterError::Unreachable(why)) => {
                        tracing::warn!(job.id = %live.job, why, "can't stop a trainer; retrying");
                    }
                }
                match cluster.status(&id).await {
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
}

fn died(code: &str, detail: String) -> End {
    End::Died(JobError { code: code.to_owned(), detail })
}

fn not_started(code: &str, detail: String) -> End {
    End::NotStarted(JobError { code: code.to_owned(), detail })
}
