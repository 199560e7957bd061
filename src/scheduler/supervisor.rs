//! The run of one trainer: starts it, saves its events, sends it commands, and kills it if it does not
//! exit.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Scheduler, compare,
    outcome::{RequestedExit, TrainerExit, Unsaved, record_command, silence_error},
};
use crate::{
    domain::{
        JobId, ModelId,
        job::{ControlRequest, JobError},
    },
    error_chain::chain,
    executors::{End, JobFolder, Run, StartError},
    storage::jobs,
    training::{control::Command, spec::Spec},
};

/// The slot of a running job among the trainers; freed when it is dropped.
pub(super) struct Slot {
    pub(super) scheduler: Scheduler,
    pub(super) id: JobId,
}

impl Slot {
    /// Runs one trainer for the job to its end, and saves the outcome of the job.
    /// `attached` is a trainer that an earlier server has started.
    pub(super) async fn execute(
        self,
        commands: mpsc::UnboundedReceiver<Command>,
        attached: Option<Run>,
    ) {
        let (scheduler, id) = (self.scheduler.clone(), self.id);
        let mut requested_exit = RequestedExit::None;
        let run =
            AssertUnwindSafe(scheduler.run_trainer(id, attached, commands, &mut requested_exit))
                .catch_unwind();
        let exit = run.await.unwrap_or_else(|_| TrainerExit::Failed(panic_error()));
        // Before the outcome is saved: once the job is queued, another trainer may run for it.
        drop(self);
        let finalize =
            AssertUnwindSafe(scheduler.finalize(id, exit, requested_exit)).catch_unwind();
        if finalize.await.is_err() {
            scheduler
                .unfinalized()
                .insert(id, (TrainerExit::Failed(panic_error()), requested_exit));
        }
        scheduler.0.wake.notify_one();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.scheduler.running().remove(&self.id);
        self.scheduler.0.wake.notify_one();
    }
}

fn panic_error() -> JobError {
    JobError {
        code: "internal".to_owned(),
        detail: "the server failed while it watched the trainer; see the server log, then resume the job".to_owned(),
    }
}

impl Scheduler {
    async fn run_trainer(
        &self,
        id: JobId,
        attached: Option<Run>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        requested_exit: &mut RequestedExit,
    ) -> TrainerExit {
        let exit = match attached {
            Some(run) => {
                let compared = run.compared;
                let exit = self.supervise(id, run, &mut commands, requested_exit).await;
                if let Some(model) = compared {
                    return compare::exit(model, exit, *requested_exit);
                }
                exit
            }
            None => match self.ensure_weights(id, &mut commands, requested_exit).await {
                Err(exit) => exit,
                Ok(()) => self.train(id, None, &mut commands, requested_exit).await,
            },
        };
        match exit {
            TrainerExit::Finished(_) => self.compare(id, &mut commands, requested_exit).await,
            exit => exit,
        }
    }

    /// Trains a job, or evaluates the model `compared` on its images.
    pub(super) async fn train(
        &self,
        id: JobId,
        compared: Option<ModelId>,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        requested_exit: &mut RequestedExit,
    ) -> TrainerExit {
        match self.start(id, compared).await {
            Ok(run) => self.supervise(id, run, commands, requested_exit).await,
            Err(error) => {
                tracing::error!(job.id = %id, error = chain(&error), "can't start a trainer");
                TrainerExit::Failed(JobError {
                    code: "trainer_not_started".to_owned(),
                    detail: "the trainer could not be started; see the server log".to_owned(),
                })
            }
        }
    }

    async fn start(&self, id: JobId, compared: Option<ModelId>) -> Result<Run, StartError> {
        let JobFolder { folder, .. } = self.folder(id);
        let (blobs, cache) = (self.0.data_dir.blobs(), self.0.data_dir.cache());
        if let Err(error) = Spec::relocate(&folder, blobs, cache) {
            // The trainer ends with the reason.
            tracing::warn!(job.id = %id, %error, "a job's spec can't be read or written");
        }
        let compared = compared.map(|model| (model, self.0.data_dir.model(model)));
        self.0.executor.start(&JobFolder { id, folder }, compared).await
    }

    pub(super) fn folder(&self, id: JobId) -> JobFolder {
        JobFolder { id, folder: self.0.data_dir.job(id) }
    }

    /// Reads the trainer's events and passes commands on until it has ended.
    async fn supervise(
        &self,
        id: JobId,
        mut run: Run,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        requested_exit: &mut RequestedExit,
    ) -> TrainerExit {
        let mut deadline = None;
        // A trainer that has ended needs no command; its end is noticed elsewhere.
        let send = |command| {
            let _ = run.commands.send(command);
        };
        // A user may have cancelled or stopped the job before this trainer could get commands.
        if let Some(request) = self.requested(id).await {
            send(request);
            record_command(requested_exit, request);
            deadline = (request == Command::Cancel).then(|| Instant::now() + run.exit_timeout);
        }
        let mut last = None;
        let silence = run.silence;
        let mut silent_at = Instant::now() + silence;
        loop {
            tokio::select! {
                // Events that were sent count before a timeout.
                biased;
                report = run.reports.recv() => {
                    let Some(report) = report else { break };
                    match self.handle_report(id, report).await {
                        Ok(None) => {}
                        Ok(Some(exit)) => {
                            last = Some(exit);
                            deadline = Some(Instant::now() + run.exit_timeout);
                        }
                        // The next trainer reports it again.
                        Err(Unsaved) if *requested_exit == RequestedExit::None => {
                            send(Command::Suspend);
                            *requested_exit = RequestedExit::Suspend;
                            deadline = Some(Instant::now() + self.suspend_timeout());
                        }
                        Err(Unsaved) => {}
                    }
                    silent_at = Instant::now() + silence;
                }
                Some(command) = commands.recv() => {
                    send(command);
                    record_command(requested_exit, command);
                    if command == Command::Cancel {
                        deadline = Some(Instant::now() + run.exit_timeout);
                    }
                }
                () = self.0.shutdown.cancelled(), if run.outlives_server => {
                    return TrainerExit::Detached;
                }
                () = self.0.shutdown.cancelled(), if *requested_exit != RequestedExit::Suspend => {
                    send(Command::Suspend);
                    *requested_exit = RequestedExit::Suspend;
                    deadline = Some(Instant::now() + self.suspend_timeout());
                }
                () = sleep_until(silent_at), if last.is_none() => {
                    tracing::warn!(job.id = %id, seconds = silence.as_secs(), "trainer sent nothing for too long; killing it");
                    last = Some(TrainerExit::Died(silence_error(silence)));
                    run.kill.cancel();
                }
                () = sleep_until_deadline(deadline) => {
                    tracing::warn!(job.id = %id, "trainer did not exit in time; killing it");
                    deadline = None;
                    run.kill.cancel();
                }
            }
        }
        let ended = run.ended.await;
        last.unwrap_or_else(|| match ended {
            Ok(End::Died(error)) => TrainerExit::Died(error),
            Ok(End::NotStarted(error)) => TrainerExit::Failed(error),
            Err(error) => TrainerExit::Died(JobError {
                code: "trainer_killed".to_owned(),
                detail: error.to_string(),
            }),
        })
    }

    /// Trainers get most of the shutdown grace period; the rest is for saving outcomes.
    fn suspend_timeout(&self) -> Duration {
        Duration::from_secs(self.0.config.shutdown_seconds).mul_f64(0.8)
    }

    pub(super) async fn requested(&self, id: JobId) -> Option<Command> {
        let mut connection = self.0.storage.read().await.ok()?;
        match jobs::requested(&mut connection, id).await.ok()?? {
            ControlRequest::Cancel => Some(Command::Cancel),
            ControlRequest::Stop => Some(Command::Stop),
        }
    }
}

async fn sleep_until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
