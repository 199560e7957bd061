//! Compares two models on the test images of a job.
//!
//! Called by `http::comparisons`. What a model predicts for these images is computed once, as for requests
//! (on the CPU, by the registry's engines), and saved. One computation runs at a time, in a task of its own, which
//! goes on while nobody waits for it, until somebody cancels it or the server shuts down.

mod error;
mod predict;
mod tasks;

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

pub use self::error::Error;
use self::tasks::Task;
use crate::{
    config::ServeConfig,
    data_dir::DataDir,
    domain::{
        JobId, ModelId,
        comparison::{Candidate, Comparison, TestPrediction, TestSplit},
        dataset::{Classes, Split},
        job::Job,
        model::Model,
    },
    memory_budget::MemoryBudget,
    registry::Registry,
    storage::{Storage, evaluations, jobs, test_predictions},
    training::spec,
    vision,
};

/// How long a request waits for a computation before it is told how far it is.
const WAIT: Duration = Duration::from_secs(20);

/// Progress of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ModelComparisonProgress)]
pub struct Progress {
    /// Predictions that are computed.
    pub done: u64,
    /// All predictions that are needed.
    pub total: u64,
}

/// The state of a comparison.
#[derive(Debug)]
pub enum Outcome {
    /// It is complete.
    Done(Box<Comparison>),
    /// Predictions are being computed.
    Computing(Progress),
}

/// A handle on the comparisons.
#[derive(Debug, Clone)]
pub struct Comparisons(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: Arc<DataDir>,
    storage: Storage,
    registry: Registry,
    memory: MemoryBudget,
    decoders: Arc<Semaphore>,
    limits: vision::Limits,
    shutdown: CancellationToken,
    /// Held by the computation that runs.
    turn: Semaphore,
    /// Held by the request whose figures are computed.
    figures: Arc<Semaphore>,
    tasks: Mutex<Vec<Task>>,
}

/// What the comparison of two models works with.
struct Subject {
    split: TestSplit,
    models: [Model; 2],
    trained_on: [Option<u64>; 2],
}

impl Comparisons {
    /// Comparisons over these modules.
    #[must_use]
    pub fn new(
        config: &ServeConfig,
        data_dir: Arc<DataDir>,
        storage: Storage,
        registry: Registry,
        memory: MemoryBudget,
        decoders: Arc<Semaphore>,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            data_dir,
            storage,
            registry,
            memory,
            decoders,
            limits: vision::Limits { max_pixels: config.max_image_pixels },
            shutdown,
            turn: Semaphore::new(1),
            figures: Arc::new(Semaphore::new(1)),
            tasks: Mutex::default(),
        }))
    }

    /// Compares `first` with `second` on the test images of `job`, by default those of the job of the
    /// newer model, or of the other if that job was deleted. Computes what is missing for up to 20
    /// seconds; longer, it goes on without the caller.
    ///
    /// # Errors
    /// The models have other classes than the images, there are no images, or a model can't be used.
    pub async fn compare(
        &self,
        first: Model,
        second: Model,
        job: Option<&str>,
    ) -> Result<Outcome, Error> {
        let subject = self.subject(first, second, job).await?;
        if let Some(comparison) = self.stored(&subject).await? {
            return Ok(Outcome::Done(Box::new(comparison)));
        }
        let mut task = self.start(&subject).await?;
        let ended = timeout(WAIT, task.ended.wait_for(Option::is_some)).await;
        match ended.map(|ended| ended.map(|ended| ended.clone())) {
            Err(_) => {
                let done = task.done.load(Relaxed);
                return Ok(Outcome::Computing(Progress { done, total: task.total }));
            }
            Ok(Ok(Some(Err(error)))) => return Err(error),
            Ok(Ok(_)) => {}
            // The task ended without a word: it panicked, or the runtime shuts down.
            Ok(Err(_)) => return Err(Error::Failed("it ended unexpectedly".to_owned())),
        }
        let comparison = self.stored(&subject).await?;
        // Whoever deleted a model meanwhile has deleted its predictions.
        let comparison =
            comparison.ok_or_else(|| Error::Unusable("a model was deleted".to_owned()))?;
        Ok(Outcome::Done(Box::new(comparison)))
    }

    /// The test images, and what is known of the models' training on them.
    async fn subject(
        &self,
        first: Model,
        second: Model,
        job: Option<&str>,
    ) -> Result<Subject, Error> {
        let job = self.job(&first, &second, job).await?;
        let (data_dir, jobs) = (Arc::clone(&self.0.data_dir), [first.job_id, second.job_id]);
        let read = move || read_subject(&data_dir, &job, jobs);
        let (split, trained_on) =
            tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        for model in [&first, &second] {
            if !model.classes.has_names_of(&split.classes) {
                let names = |classes: &Classes| {
                    let names: Vec<_> = classes.names().iter().take(5).map(|it| &**it).collect();
                    let more = if classes.names().len() > 5 { ", …" } else { "" };
                    format!("{}{more}", names.join(", "))
                };
                return Err(Error::OtherClasses {
                    model: model.name.to_string(),
                    theirs: names(&model.classes),
                    job: split.job.to_string(),
                    ours: names(&split.classes),
                });
            }
        }
        if split.samples.is_empty() {
            return Err(Error::NoTestImages(split.job.to_string()));
        }
        Ok(Subject { split, models: [first, second], trained_on })
    }

    /// The job whose test images decide: that of the reference, or that of the newer model, or of the other.
    async fn job(
        &self,
        first: &Model,
        second: &Model,
        reference: Option<&str>,
    ) -> Result<Job, Error> {
        if let Some(reference) = reference {
            let mut connection = self.0.storage.read().await?;
            let found = jobs::find(&mut connection, reference).await?;
            return found.ok_or_else(|| Error::NoSuchJob(reference.to_owned()));
        }
        let is_newer = first.created_at >= second.created_at;
        let (newer, older) = if is_newer { (first, second) } else { (second, first) };
        match self.job_of(newer).await? {
            Some(job) => Ok(job),
            None => self.job_of(older).await?.ok_or(Error::NoJob),
        }
    }

    async fn job_of(&self, model: &Model) -> Result<Option<Job>, Error> {
        let Some(id) = model.job_id else { return Ok(None) };
        let mut connection = self.0.storage.read().await?;
        Ok(jobs::get(&mut connection, id).await?)
    }

    /// The comparison, if the predictions of both models are saved.
    async fn stored(&self, subject: &Subject) -> Result<Option<Comparison>, Error> {
        let Subject { split, models: [first, second], trained_on } = subject;
        // Thousands of bootstrap samples: however many clients ask, they take no more than one processor.
        let turn = Arc::clone(&self.0.figures).acquire_owned().await;
        let turn = turn.map_err(|_| Error::ShuttingDown)?;
        let predictions =
            [self.predictions(split, first.id).await?, self.predictions(split, second.id).await?];
        let [Some(of_first), Some(of_second)] = predictions else { return Ok(None) };
        let candidate = |model: &Model, predictions, trained_on| Candidate {
            id: model.id,
            name: model.name.clone(),
            predictions,
            trained_on,
        };
        let first = candidate(first, of_first, trained_on[0]);
        let second = candidate(second, of_second, trained_on[1]);
        let split = split.clone();
        let job = split.job.to_string();
        let compare = move || {
            // Also if its client leaves.
            let _turn = turn;
            Comparison::new(&split, &first, &second)
        };
        let compared = tokio::task::spawn_blocking(compare).await.map_err(io::Error::other)?;
        let mut comparison = compared.ok_or(Error::NoTestImages(job))?;
        let images: Vec<_> = comparison.differences.iter().map(|it| it.image_id).collect();
        let mut connection = self.0.storage.read().await?;
        let mut names = evaluations::file_names(&mut connection, &images).await?;
        for differing in &mut comparison.differences {
            differing.file_name = names.remove(&differing.image_id);
        }
        Ok(Some(comparison))
    }

    async fn predictions(
        &self,
        split: &TestSplit,
        model: ModelId,
    ) -> Result<Option<Vec<Option<TestPrediction>>>, Error> {
        let mut connection = self.0.storage.read().await?;
        let stored = test_predictions::get(&mut connection, split.job_id, model).await?;
        Ok(stored.filter(|predictions| predictions.len() == split.samples.len()))
    }
}

/// The test images of a job, and how many of them the models of `jobs` were trained on.
fn read_subject(
    data_dir: &DataDir,
    job: &Job,
    jobs: [Option<JobId>; 2],
) -> io::Result<(TestSplit, [Option<u64>; 2])> {
    let folder = data_dir.job(job.id);
    let spec = spec::Spec::load(&folder)?;
    let mut samples = spec::read_manifest(&folder)?;
    samples.retain(|sample| sample.split == Split::Test);
    let trained_on = jobs.map(|id| {
        // A manifest that can't be read says as little as one that was deleted.
        let manifest = spec::read_manifest(&data_dir.job(id?)).ok()?;
        let train = manifest.iter().filter(|sample| sample.split == Split::Train);
        let train: HashSet<_> = train.map(|sample| sample.sha256).collect();
        Some(samples.iter().filter(|sample| train.contains(&sample.sha256)).count() as u64)
    });
    let split = TestSplit {
        job_id: job.id,
        job: job.name.clone(),
        dataset: job.dataset.clone(),
        classes: spec.classes,
        samples,
    };
    Ok((split, trained_on))
}
