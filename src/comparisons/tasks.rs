//! Computations of predictions: one at a time, each in a task of its own.

use std::sync::{
    Arc, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Comparisons, Error, Subject};
use crate::{
    domain::{JobId, ModelId, comparison::TestSplit, model::Model},
    error_chain::chain,
    storage::{self, test_predictions},
};

/// Computations that may wait for each other.
const MAX_WAITING: usize = 16;

/// A computation that runs or waits.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) job: JobId,
    /// The models that are compared, in the order of their ids.
    pub(super) pair: [ModelId; 2],
    /// Those of them whose predictions are missing.
    pub(super) models: Vec<ModelId>,
    pub(super) total: u64,
    pub(super) done: Arc<AtomicU64>,
    pub(super) cancel: CancellationToken,
    /// How it ended.
    pub(super) ended: watch::Receiver<Option<Result<(), Error>>>,
}

impl Comparisons {
    /// Cancels what is computed for the comparison of these models on the test images of `job`, by default
    /// the same as of [`Comparisons::compare`].
    ///
    /// # Errors
    /// Unknown job, or the database failed.
    pub async fn cancel(
        &self,
        first: &Model,
        second: &Model,
        job: Option<&str>,
    ) -> Result<(), Error> {
        let job = match self.job(first, second, job).await {
            // Without one nothing is computed.
            Err(Error::NoJob) => return Ok(()),
            found => found?,
        };
        let pair = pair(first.id, second.id);
        let same = |task: &&Task| task.job == job.id && task.pair == pair;
        self.tasks().iter().filter(same).for_each(|task| task.cancel.cancel());
        Ok(())
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Task>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to compute what is missing, unless that has been started.
    pub(super) async fn start(&self, subject: &Subject) -> Result<Task, Error> {
        let split = &subject.split;
        let mut models = Vec::new();
        for model in &subject.models {
            if !models.contains(&model.id) && self.predictions(split, model.id).await?.is_none() {
                models.push(model.id);
            }
        }
        let (sender, ended) = watch::channel(None);
        let [first, second] = &subject.models;
        let task = Task {
            job: split.job_id,
            pair: pair(first.id, second.id),
            total: (models.len() * split.samples.len()) as u64,
            models,
            done: Arc::default(),
            cancel: self.0.shutdown.child_token(),
            ended,
        };
        {
            let mut tasks = self.tasks();
            let same = |it: &&Task| it.job == task.job && it.pair == task.pair;
            if let Some(known) = tasks.iter().find(same) {
                return Ok(known.clone());
            }
            if tasks.len() >= MAX_WAITING {
                return Err(Error::Busy);
            }
            tasks.push(task.clone());
        }
        let (comparisons, running, split) = (self.clone(), task.clone(), split.clone());
        tokio::spawn(async move {
            let listed = Listed { comparisons: &comparisons, task: &running };
            let result = comparisons.run(&running, &split).await;
            if let Err(error) = &result {
                tracing::warn!(error = chain(error), "can't compare two models");
            }
            // First: whoever hears of the end may begin anew.
            drop(listed);
            sender.send_replace(Some(result));
        });
        Ok(task)
    }

    /// Computes and saves the predictions of a task's models, one after the other.
    async fn run(&self, task: &Task, split: &TestSplit) -> Result<(), Error> {
        let work = async {
            let _turn = self.0.turn.acquire().await;
            for &model in &task.models {
                // Another task may have computed them meanwhile.
                if self.predictions(split, model).await?.is_some() {
                    task.done.fetch_add(split.samples.len() as u64, Relaxed);
                    continue;
                }
                let predictions = self.predict(model, split, &task.done).await?;
                let mut transaction = self.0.storage.write().await?;
                test_predictions::put(&mut transaction, split.job_id, model, &predictions).await?;
                transaction.commit().await.map_err(storage::Error::from)?;
            }
            Ok(())
        };
        tokio::select! {
            done = work => done,
            () = task.cancel.cancelled() => Err(match self.0.shutdown.is_cancelled() {
                true => Error::ShuttingDown,
                false => Error::Cancelled,
            }),
        }
    }
}

/// The same, whichever is first.
fn pair(first: ModelId, second: ModelId) -> [ModelId; 2] {
    [first.min(second), first.max(second)]
}

/// A task in the list, which it leaves when this is dropped.
struct Listed<'a> {
    comparisons: &'a Comparisons,
    task: &'a Task,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.comparisons.tasks().retain(|it| !Arc::ptr_eq(&it.done, &self.task.done));
    }
}
