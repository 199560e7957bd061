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
    /// What it waits for, as saved.
    pub(super) message: Option<String>,
}

/// Why the watch goes on, or ends.
type Ended = Option<End>;

impl Watch {
    /// Until the trainer has ended, or the server.
    pub(super) async fn run(mut self, last: Option<Event>) -> End {
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
        let submitted = self.site.cluster.submit(submission).await;
        match submitted {
            Ok(id) => {
                tracing::info!(job.id = %self.live.job, attempt.id = %self.live.id, cluster.id = id, "submitted a trainer");
                let page = self.site.cluster.page(&id);
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
        let kind = self.site.cluster.kind().title();
        match self.site.cluster.status(id).await {
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
                        self.site.server,
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
            let seconds = self.site.wait.as_secs();
            let detail = format!(
                "no trainer has started within {seconds} s (--cluster-wait, PAWPRINT_CLUSTER_WAIT): {why}; resume the job when there is place"
            );
            return Some(self.stop_now(not_started(code, detail)).await);
        }
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
        self.live.is_alive();
        None
    }

    async fn save_id(&self, id: &str, page: Option<&str>) -> Result<(), storage::Error> {
        let mut transaction = self.site.attempts.storage().write().await?;
        attempts::submitted(&mut transaction, self.live.id, id, page).await?;
        job_events::current_status(&mut transaction, self.live.job).await?;
        Ok(transaction.commit().await?)
    }

    /// Stops it on the cluster; its trainer can report nothing meanwhile.
    async fn stop(self, end: End) -> End {
        let Self { registration, id, site, live, .. } = self;
        drop(registration);
        stop(&site.cluster, &live, id.as_deref()).await;
        end
    }

    async fn stop_now(&self, end: End) -> End {
        stop(&self.site.cluster, &self.live, self.id.as_deref()).await;
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
