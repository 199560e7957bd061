//! Computations of predictions: one at a time, each in a task of its own.

use std::sync::{
    Arc, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Comparisons, Error, Subject};
use crate::{
    domain::{JobId, ModelId, comparison::TestSplit},
    error_chain::chain,
    storage::{self, test_predictions},
};

/// Computations that may wait for each other.
const MAX_WAITING: usize = 16;

/// A computation that runs or waits.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) job: JobId,
    pub(super) models: Vec<ModelId>,
    pub(super) total: u64,
    pub(super) done: Arc<AtomicU64>,
    pub(super) cancel: CancellationToken,
    /// How it ended.
    pub(super) ended: watch::Receiver<Option<Result<(), Error>>>,
}

impl Comparisons {
    /// Cancels the computations that the comparison of these models needs.
    pub fn cancel(&self, first: ModelId, second: ModelId) {
        let of_both = |task: &&Task| task.models.iter().all(|id| [first, second].contains(id));
        self.tasks().iter().filter(of_both).for_each(|task| task.cancel.cancel());
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
        let task = Task {
            job: split.job_id,
            total: (models.len() * split.samples.len()) as u64,
            models,
            done: Arc::default(),
            cancel: self.0.shutdown.child_token(),
            ended,
        };
        {
            let mut tasks = self.tasks();
            let same = |it: &&Task| it.job == task.job && it.models == task.models;
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
