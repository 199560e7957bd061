//! The common start (the device, the decoded splits, the checkpoint) and end of every recipe.

use std::{cell::Cell, time::Instant};

use crate::{
    datasets::blobs,
    device::Compute,
    domain::{
        dataset::{Sample, Split},
        job::{Phase, Progress},
        model::{Normalise, Preprocessing},
        recipe::Params,
    },
    training::{
        cache::{Layout, Records},
        control::Control,
        events::{Event, Events},
        failure::{End, Failure},
        features,
        finish::{Made, finish},
        learnable::Learnable,
        learner::{Learner, Stage, Task, Trained},
        photos::Photos,
        pixels,
        spec::Job,
        store::Store,
    },
    vision,
    weights::checkpoint::{Checkpoint, Checkpoints},
};

/// The checkpoints of a head that is trained before fine-tuning.
const HEAD_CHECKPOINTS: &str = "checkpoints/head";

/// A job ready to train.
pub(super) struct Prepared<'a> {
    pub(super) job: &'a Job,
    pub(super) compute: Compute,
    pub(super) preprocessing: Preprocessing,
    pub(super) photos: Photos,
    pub(super) train: Vec<Sample>,
    pub(super) validation: Vec<Sample>,
    /// Whether an earlier trainer has begun the main training.
    pub(super) resumes: bool,
    /// The checkpoint of earlier training, if any; taken by [`Prepared::fit`].
    checkpoint: Cell<Option<Checkpoint>>,
    /// Whether a job that is stopped now has a result: an earlier trainer has begun to train, or
    /// the initial weights are a result.
    has_result: Cell<bool>,
    test: Vec<Sample>,
    checkpoints: Checkpoints,
    reports: Reports<'a>,
}

impl<'a> Prepared<'a> {
    /// Chooses the device, reads the checkpoint, and decodes images that the cache lacks.
    pub(super) fn new(
        job: &'a Job,
        normalise: Normalise,
        control: &'a Control,
        events: &'a Events,
    ) -> Result<Self, End> {
        let compute = Compute::choose(&job.spec.params).map_err(Failure::from)?;
        let preprocessing = Preprocessing::at_180(normalise);
        let (checkpoints, checkpoint) = open_checkpoints(job, "checkpoints")?;
        let epoch = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.position.epoch);
        events.send(&Event::Started {
            device: compute.device_name().to_owned(),
            precision: compute.precision,
            completed_epochs: epoch,
        });
        let resumes = checkpoint.is_some();
        let has_result = resumes || has_head(job)?;
        let reports = Reports { job, epoch, control, events };
        let [train, validation, test] = Split::ALL.map(|split| job.split(split));
        let pixels = decode(job, &preprocessing, reports, has_result)?;
        let pixels = Store::new(pixels, &job.samples, compute);
        tracing::info!(
            recipe = %job.spec.recipe,
            device = compute.device_name(),
            precision = compute.precision.as_str(),
            threads = job.spec.threads,
            train = train.len(),
            validation = validation.len(),
            test = test.len(),
            completed_epochs = epoch,
            "images ready"
        );
        Ok(Self {
            job,
            compute,
            preprocessing,
            photos: Photos { pixels, normalise, compute },
            train,
            validation,
            resumes,
            has_result: Cell::new(has_result),
            checkpoint: Cell::new(checkpoint),
            test,
            checkpoints,
            reports,
        })
    }

    /// The records of `samples` that `forward` computes, as far as the cache lacks them.
    pub(super) fn extract(
        &self,
        layout: Layout,
        samples: &[Sample],
        forward: impl Fn(&[Sample]) -> tch::Tensor,
    ) -> Result<Store, End> {
        let report = self.reports.of(Phase::Extracting, samples.len(), self.has_result.get());
        let cache = &self.job.spec.cache;
        let records = features::prepare(cache, layout, samples, forward, report)?;
        Ok(Store::new(records, samples, self.compute))
    }

    /// Trains `learnable` with the job's parameters, from its checkpoint.
    pub(super) fn fit(&self, stage: Stage, learnable: &dyn Learnable) -> Result<Trained, End> {
        let task = self.task(stage, &self.job.spec.params, &self.checkpoints);
        Learner::new(task, learnable, self.checkpoint.take())?.fit()
    }

    /// From now on there is a result.
    pub(super) fn set_has_result(&self) {
        self.has_result.set(true);
    }

    /// Trains a head alone, before fine-tuning; its checkpoints are in a folder of their own.
    pub(super) fn fit_head(&self, params: &Params, head: &dyn Learnable) -> Result<Trained, End> {
        let (checkpoints, checkpoint) = open_checkpoints(self.job, HEAD_CHECKPOINTS)?;
        let task = self.task(Stage::Head, params, &checkpoints);
        Learner::new(task, head, checkpoint)?.fit()
    }

    /// Evaluates the trained network on the test split and writes the model.
    pub(super) fn finish(
        &self,
        learnable: &dyn Learnable,
        trained: Trained,
        made: Made,
    ) -> Result<(), End> {
        let task = self.task(Stage::Main, &self.job.spec.params, &self.checkpoints);
        finish(self.job, task, learnable, trained, &self.test, made)
    }

    fn task<'t>(
        &'t self,
        stage: Stage,
        params: &'t Params,
        checkpoints: &'t Checkpoints,
    ) -> Task<'t> {
        Task {
            stage,
            params,
            compute: self.compute,
            train: &self.train,
            validation: &self.validation,
            checkpoints,
            control: self.reports.control,
            events: self.reports.events,
        }
    }
}

/// Progress reports of the work before the first epoch, and its check for commands.
#[derive(Clone, Copy)]
struct Reports<'a> {
    job: &'a Job,
    epoch: u32,
    control: &'a Control,
    events: &'a Events,
}

impl<'a> Reports<'a> {
    /// Called with the number of `images` that are ready: reports it once a second, and ends the
    /// work if the server requests it. A stopped job that `has_result` needs the work to keep the
    /// result.
    fn of(
        self,
        phase: Phase,
        images: usize,
        has_result: bool,
    ) -> impl FnMut(usize) -> Result<(), End> + use<'a> {
        let mut begun: Option<(Instant, usize)> = None;
        let mut reported: Option<(Instant, usize)> = None;
        move |ready| {
            if has_result {
                self.control.check_unless_stopped()?;
            } else {
                self.control.check()?;
            }
            let (started, first) = *begun.get_or_insert((Instant::now(), ready));
            let due = reported.is_none_or(|(at, last)| {
                at.elapsed().as_secs() >= 1 || (ready == images && last != images)
            });
            if due {
                reported = Some((Instant::now(), ready));
                let done = ready.saturating_sub(first) as f64;
                let left = images.saturating_sub(ready) as f64;
                self.events.send(&Event::Progress(Progress {
                    phase,
                    epoch: self.epoch,
                    epochs: self.job.spec.params.epochs,
                    step: ready as u64,
                    steps: images as u64,
                    // Of this phase: the duration of the epochs is not known yet.
                    eta_seconds: (done > 0.0)
                        .then(|| started.elapsed().as_secs_f64() / done * left),
                }));
            }
            Ok(())
        }
    }
}

fn decode(
    job: &Job,
    preprocessing: &Preprocessing,
    reports: Reports<'_>,
    has_result: bool,
) -> Result<Records, End> {
    let spec = &job.spec;
    let limits = vision::Limits { max_pixels: spec.max_image_pixels };
    pixels::prepare(
        &spec.cache,
        preprocessing,
        &job.samples,
        spec.threads,
        |sample, image| {
            let bytes =
                blobs::read(&spec.blobs, &sample.sha256).map_err(|error| error.to_string())?;
            vision::prepare_into(&bytes, &limits, preprocessing, image)
                .map_err(|error| error.to_string())
        },
        reports.of(Phase::Preparing, job.samples.len(), has_result),
    )
}

/// Whether an earlier trainer has completed an epoch of a head: stopped fine-tuning keeps it.
fn has_head(job: &Job) -> Result<bool, End> {
    if !job.folder.join(HEAD_CHECKPOINTS).exists() {
        return Ok(false);
    }
    let (_, checkpoint) = open_checkpoints(job, HEAD_CHECKPOINTS)?;
    Ok(checkpoint.is_some_and(|checkpoint| checkpoint.position.best.is_some()))
}

/// The checkpoints in a folder of the job's, and the newest that can be read.
fn open_checkpoints(job: &Job, folder: &str) -> Result<(Checkpoints, Option<Checkpoint>), End> {
    let folder = job.folder.join(folder);
    let checkpoints = Checkpoints::open(&folder).map_err(|error| Failure::io(&folder, &error))?;
    let checkpoint = checkpoints.load(|path, error| {
        tracing::warn!(
            path = %path.display(),
            error = crate::error_chain::chain(error),
            "renamed a damaged checkpoint; using the previous one"
        );
    })?;
    Ok((checkpoints, checkpoint))
}
