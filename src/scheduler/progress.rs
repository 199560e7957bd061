//! Saves what trainers report.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable as _};
use tokio::time::timeout;

use super::{
    Scheduler,
    blocking::blocking,
    compare::read_model,
    outcome::{RequestedExit, TrainerExit, Transition, Unsaved, transition},
};
use crate::{
    domain::{
        JobId,
        evaluation::Evaluation,
        job::{JobError, JobStatus, Phase, Progress},
        service::Comparison,
    },
    executors::{Receipt, Report, upload},
    registry::admission::{Admission, NewModel},
    storage::{self, attempts, evaluations, job_events, jobs, webhooks},
    training::{
        events::Event,
        finish::{EVALUATION, MODEL},
    },
    weights::checkpoint,
};

/// A write that failed, as on a full disk, is retried after 1 s, then 2, 4 and so on, at most every
/// 30 s, some ten minutes in all.
const RETRIES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_max_delay(Duration::from_secs(30))
    .with_max_times(24);

/// How long the queue waits for the outcome of a job that could not be saved before.
const FINALIZE_TIMEOUT: Duration = Duration::from_secs(5);

/// Counts a write that is retried, as long as it is.
struct Retrying<'a>(&'a AtomicUsize);

impl<'a> Retrying<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Scheduler {
    /// Saves one event; returns the ending if it was the last.
    pub(super) async fn handle_report(
        &self,
        id: JobId,
        Report { event, receipt }: Report,
    ) -> Result<Option<TrainerExit>, Unsaved> {
        let exit = self.handle_event(id, event, receipt.as_ref()).await?;
        if let Some(Receipt { saved, .. }) = receipt {
            // Whoever waited for it asks again.
            let _ = saved.send(());
        }
        Ok(exit)
    }

    async fn handle_event(
        &self,
        id: JobId,
        event: Event,
        receipt: Option<&Receipt>,
    ) -> Result<Option<TrainerExit>, Unsaved> {
        if event.is_last() && receipt.is_some() {
            self.retry_until_saved(id, || self.persist_event(id, &event, receipt)).await?;
        }
        match event {
            Event::Finished => return Ok(Some(TrainerExit::Finished(None))),
            Event::Compared { model, metrics } => {
                let comparison = Comparison { model, result: Ok(metrics) };
                return Ok(Some(TrainerExit::Finished(Some(comparison))));
            }
            Event::Cancelled => return Ok(Some(TrainerExit::Cancelled)),
            Event::Suspended => return Ok(Some(TrainerExit::Suspended)),
            Event::Died { code, detail } => {
                return Ok(Some(TrainerExit::Died(JobError { code, detail })));
            }
            Event::Failed { code, detail } => {
                return Ok(Some(TrainerExit::Failed(JobError { code, detail })));
            }
            // Whoever started it may have saved where it is.
            Event::Alive => {
                self.0.changed.send_replace(());
                return Ok(None);
            }
            // The next one is a second away.
            Event::Progress(_) | Event::Comparing { .. } => {
                drop(self.persist_event(id, &event, receipt).await)
            }
            _ => self.retry_until_saved(id, || self.persist_event(id, &event, receipt)).await?,
        }
        self.0.changed.send_replace(());
        Ok(None)
    }

    /// Saves an event, and in the same transaction that it is saved.
    async fn persist_event(
        &self,
        id: JobId,
        event: &Event,
        receipt: Option<&Receipt>,
    ) -> Result<(), storage::Error> {
        // Read before the write lock is taken.
        let read = match event {
            Event::Evaluation(_) => self.read_evaluation(id).await,
            _ => None,
        };
        let mut transaction = self.0.storage.write().await?;
        let connection = &mut *transaction;
        match event {
            Event::Started { device, precision, completed_epochs } => {
                job_events::started(connection, id, device, *precision, *completed_epochs).await?;
                job_events::current_status(connection, id).await?;
            }
            Event::Progress(progress) => job_events::progress(connection, id, *progress).await?,
            Event::Comparing { step, steps } => {
                let last = jobs::get(connection, id).await?.and_then(|job| job.progress);
                if let Some(last) = last {
                    let (phase, step, steps) = (Phase::Comparing, *step, *steps);
                    let progress = Progress { phase, step, steps, eta_seconds: None, ..last };
                    job_events::progress(connection, id, progress).await?;
                }
            }
            Event::Epoch { metrics, best } => {
                job_events::epoch(connection, id, metrics, *best).await?
            }
            Event::Best(best) => job_events::set_best(connection, id, *best).await?,
            Event::Evaluation(score) => {
                if let Some(evaluation) = &read {
                    evaluations::put(connection, id, evaluation).await?;
                }
                job_events::evaluation(connection, id, score).await?;
            }
            Event::Alive
            | Event::Memory { .. }
            | Event::Finished
            | Event::Compared { .. }
            | Event::Cancelled
            | Event::Suspended
            | Event::Died { .. }
            | Event::Failed { .. } => {}
        }
        if let Some(Receipt { attempt, sequence, .. }) = receipt {
            attempts::saved(connection, *attempt, *sequence).await?;
            if event.is_last()
                && let Ok(json) = serde_json::to_string(event)
            {
                attempts::last_event(connection, *attempt, &json).await?;
            }
        }
        Ok(transaction.commit().await?)
    }

    /// The evaluation that a trainer has just reported, from the job's folder.
    async fn read_evaluation(&self, id: JobId) -> Option<Evaluation> {
        let path = self.0.data_dir.job(id).join(EVALUATION);
        let read = blocking(move || Ok(serde_json::from_slice(&fs::read(path)?)?)).await;
        read.inspect_err(|error| {
            tracing::error!(job.id = %id, %error, "can't read a job's evaluation");
        })
        .ok()
    }

    /// Saves the outcome of a job whose trainer has ended. An outcome that can't be saved in time
    /// is left to [`Scheduler::finalize_pending`], or after a shutdown to the next server.
    pub(super) async fn finalize(
        &self,
        id: JobId,
        exit: TrainerExit,
        requested_exit: RequestedExit,
    ) {
        if let Err(Unsaved) = self.try_finalize(id, exit.clone(), requested_exit).await {
            tracing::error!(job.id = %id, ?exit, "can't save the outcome of a job yet");
            self.unfinalized().insert(id, (exit, requested_exit));
        }
    }

    /// Saves the outcomes that could not be saved when their trainers ended, once the database is
    /// writable again.
    pub(super) async fn finalize_pending(&self) {
        if self.unfinalized().is_empty() || self.0.storage.check().await.is_err() {
            return;
        }
        let unfinalized: Vec<_> = self
            .unfinalized()
            .iter()
            .map(|(id, (exit, requested_exit))| (*id, exit.clone(), *requested_exit))
            .collect();
        for (id, exit, requested_exit) in unfinalized {
            let finalize = timeout(FINALIZE_TIMEOUT, self.try_finalize(id, exit, requested_exit));
            if !matches!(finalize.await, Ok(Ok(()))) {
                return;
            }
            self.unfinalized().remove(&id);
        }
    }

    async fn try_finalize(
        &self,
        id: JobId,
        exit: TrainerExit,
        requested_exit: RequestedExit,
    ) -> Result<(), Unsaved> {
        let exit = match exit {
            TrainerExit::Finished(comparison) => match self.move_model(id).await {
                Ok(new) => self.admit(id, &new, comparison).await?,
                Err(error) => TrainerExit::Failed(error),
            },
            other => other,
        };
        self.retry_until_saved(id, || self.finish_job(id, exit.clone(), requested_exit)).await?;
        if exit != TrainerExit::Detached {
            let folder = self.0.data_dir.job(id);
            if let Err(error) = blocking(move || upload::remove_incomplete(&folder)).await {
                tracing::warn!(job.id = %id, %error, "can't remove incomplete uploads");
            }
        }
        self.0.changed.send_replace(());
        if matches!(exit, TrainerExit::Finished(_)) {
            self.remove_checkpoints(id).await;
        }
        Ok(())
    }

    /// Registers a new model. If another model has gone into service since it was compared, the job
    /// goes back into the queue: its next trainer, which has nothing left to train, compares again.
    async fn admit(
        &self,
        id: JobId,
        new: &NewModel,
        comparison: Option<Comparison>,
    ) -> Result<TrainerExit, Unsaved> {
        let admit = || self.0.registry.admit(new, comparison.as_ref());
        Ok(match self.retry_until_saved(id, admit).await? {
            Admission::Decided => TrainerExit::Finished(comparison),
            Admission::Outdated => {
                tracing::info!(job.id = %id, "another model went into service; comparing again");
                TrainerExit::Suspended
            }
        })
    }

    async fn finish_job(
        &self,
        id: JobId,
        exit: TrainerExit,
        requested_exit: RequestedExit,
    ) -> Result<(), storage::Error> {
        let mut transaction = self.0.storage.write().await?;
        let connection = &mut *transaction;
        let attempts = jobs::get(connection, id).await?.map_or(0, |job| job.attempts);
        let running = JobStatus::Running;
        match transition(exit, attempts, requested_exit) {
            Transition::Finish(status, error) => {
                tracing::info!(
                    job.id = %id,
                    job.status = %status,
                    error.code = error.as_ref().map(|error| &*error.code),
                    "job ended"
                );
                jobs::finish(connection, id, running, status, error.as_ref()).await?;
                webhooks::job_ended(connection, id).await?;
            }
            Transition::Requeue(attempts) => {
                jobs::requeue(connection, id, running, attempts).await?;
            }
            Transition::Keep => return Ok(()),
            Transition::Retry(error) => {
                tracing::warn!(job.id = %id, error.detail = error.detail, attempts, "trainer exited unexpectedly; restarting");
                let interrupted = JobStatus::Interrupted;
                jobs::finish(connection, id, running, interrupted, Some(&error)).await?;
                job_events::current_status(connection, id).await?;
                jobs::requeue(connection, id, interrupted, attempts).await?;
            }
        }
        job_events::current_status(connection, id).await?;
        Ok(transaction.commit().await?)
    }

    /// Moves the model that a trainer has written to its place, unless it is already there.
    async fn move_model(&self, id: JobId) -> Result<NewModel, JobError> {
        let data_dir = self.0.data_dir.clone();
        let moved = blocking(move || {
            let new = read_model(&data_dir, id)?;
            let written = data_dir.job(id).join(MODEL);
            if written.exists() {
                fs::rename(&written, data_dir.model(new.card.id))?;
                fs::File::open(data_dir.models())?.sync_all()?;
            }
            Ok(new)
        });
        moved.await.map_err(|error| {
            tracing::error!(job.id = %id, %error, "can't register the trained model");
            JobError {
                code: "model_unreadable".to_owned(),
                detail: "the trained model can't be read; resume the job to write it again"
                    .to_owned(),
            }
        })
    }

    /// A job that succeeded is never resumed.
    async fn remove_checkpoints(&self, id: JobId) {
        let folder = self.0.data_dir.job(id).join(checkpoint::FOLDER);
        if let Err(error) = blocking(move || fs::remove_dir_all(folder)).await {
            tracing::warn!(job.id = %id, %error, "can't remove a job's checkpoints");
        }
    }

    /// Tries a write until it succeeds, for some ten minutes or until the server shuts down; the
    /// trainer waits meanwhile, its pipe full. After a shutdown the next server resumes the job
    /// from its folder.
    async fn retry_until_saved<T, F>(&self, id: JobId, write: impl Fn() -> F) -> Result<T, Unsaved>
    where
        F: Future<Output = Result<T, storage::Error>>,
    {
        let error = match write().await {
            Ok(saved) => return Ok(saved),
            Err(error) => error,
        };
        let _retrying = Retrying::new(&self.0.retrying);
        let log = |error: &storage::Error| {
            tracing::error!(
                job.id = %id,
                error = crate::error_chain::chain(error),
                "can't save the job state; retrying"
            );
        };
        log(&error);
        let retries = write.retry(RETRIES).notify(|error, _| log(error));
        tokio::select! {
            saved = retries => saved.map_err(|_| Unsaved),
            () = self.0.shutdown.cancelled() => Err(Unsaved),
        }
    }
}
