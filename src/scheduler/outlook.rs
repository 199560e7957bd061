//! How long jobs take and wait, from what is known without running them.

use std::collections::HashMap;

use super::{Error, Scheduler};
use crate::{
    device::cuda_is_available,
    domain::{
        dataset::{Dataset, Split},
        estimate::{Estimate, FinishedJob, Images, Target, estimate, seconds_per_pass},
        job::{Job, JobStatus},
        parameters::Params,
        recipe::Recipe,
    },
    storage::{finished_jobs, jobs},
};

/// Finished jobs that are read for estimates, of all recipes.
const FINISHED: u32 = 100;

/// What estimates for a dataset are made from.
#[derive(Debug)]
pub struct Outlook {
    pub(super) target: Target,
    finished: Vec<FinishedJob>,
    device: &'static str,
    /// Of that device, if known.
    seconds_per_pass: Option<f64>,
}

impl Outlook {
    /// How long a job of `recipe` with default parameters takes; `None` if nothing is known about the speed.
    #[must_use]
    pub fn estimate(&self, recipe: Recipe) -> Option<Estimate> {
        estimate(recipe, &self.target, &self.finished, self.device, self.seconds_per_pass)
    }
}

impl Scheduler {
    /// What estimates for jobs on this dataset are made from.
    ///
    /// # Errors
    /// The database failed.
    pub async fn outlook(&self, dataset: &Dataset) -> Result<Outlook, Error> {
        let cuda = tokio::task::spawn_blocking(cuda_is_available).await.unwrap_or(false);
        let engine = self.0.registry.engine_in_service();
        let of_split = |split| -> f64 {
            let classes = dataset.counts.get(&split);
            classes.map_or(0, |classes| classes.values().sum::<u64>()) as f64
        };
        let [train, validation, test] = Split::ALL.map(of_split);
        let rival = engine.as_ref().map(|engine| engine.card());
        let rival = rival.filter(|card| card.classes.has_names_of(&dataset.classes));
        let target = Target {
            dataset: Some(dataset.id),
            classes: dataset.classes.names().len(),
            images: Images { train, validation, test },
            bytes: dataset.bytes as f64 / (dataset.images as f64).max(1.0),
            rival: rival.map(|card| card.architecture),
        };
        // The server computes on the CPU: that says nothing about training on a GPU.
        let seconds_per_pass = engine.filter(|_| !cuda).map(|engine| {
            let (architecture, config) = (engine.card().architecture, engine.config());
            let (single, trainer) = (config.single.as_secs_f64(), self.0.config.trainer_threads());
            seconds_per_pass(architecture, single, config.threads, trainer)
        });
        let mut connection = self.0.storage.read().await?;
        let finished = finished_jobs::newest(&mut connection, FINISHED).await?;
        let device = if cuda { "cuda" } else { "cpu" };
        Ok(Outlook { target, finished, device, seconds_per_pass })
    }

    /// Seconds until a job that is submitted now starts: after those that run and that are queued. `None` if
    /// nothing is known about one of them.
    pub(super) async fn queue_seconds(&self) -> Result<Option<f64>, Error> {
        let waiting = {
            let mut connection = self.0.storage.read().await?;
            let mut ids = jobs::with_status(&mut connection, JobStatus::Running).await?;
            ids.extend(jobs::with_status(&mut connection, JobStatus::Queued).await?);
            let mut waiting = jobs::of_ids(&mut connection, &ids).await?;
            waiting.sort_by_key(|job| (job.status != JobStatus::Running, job.id));
            waiting
        };
        let mut outlooks = HashMap::new();
        // When each of the slots for running jobs is free.
        let mut slots = vec![0.0_f64; self.0.config.max_running_jobs.get()];
        for job in waiting {
            if !outlooks.contains_key(&job.dataset) {
                let outlook = match self.0.datasets.get(&job.dataset).await {
                    Ok(dataset) => Some(self.outlook(&dataset).await?),
                    Err(_) => None,
                };
                outlooks.insert(job.dataset.clone(), outlook);
            }
            let outlook = outlooks.get(&job.dataset).and_then(Option::as_ref);
            let Some(left) = seconds_left(&job, outlook) else { return Ok(None) };
            if let Some(first) = slots.iter_mut().min_by(|one, other| one.total_cmp(other)) {
                *first += left;
            }
        }
        Ok(slots.into_iter().min_by(f64::total_cmp))
    }
}

/// Seconds that a job will still run: by its own account, otherwise what is estimated for its recipe and its
/// number of epochs.
fn seconds_left(job: &Job, outlook: Option<&Outlook>) -> Option<f64> {
    let running = job.status == JobStatus::Running;
    let own = job.progress.filter(|progress| running && progress.epoch > 0);
    if let Some(left) = own.and_then(|progress| progress.eta_seconds) {
        return Some(left);
    }
    let usual = outlook?.estimate(job.recipe)?.seconds;
    let epochs = f64::from(Params::defaults(job.recipe).epochs);
    let whole = usual * f64::from(job.params.epochs) / epochs;
    let since = job.started_at.filter(|_| running);
    let done = since.map_or(0.0, |at| jiff::Timestamp::now().duration_since(at).as_secs_f64());
    Some((whole - done).max(0.0))
}
