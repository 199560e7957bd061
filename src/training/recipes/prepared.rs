//! The common start (the device, the decoded splits, the checkpoint) and end of every recipe.

use std::{cell::Cell, time::Instant};

use crate::{
    architectures::Cnn,
    device::ComputeConfig,
    domain::{
        dataset::{Sample, Split},
        job::{Phase, Progress},
        objective::Objective,
        parameters::Params,
        preprocessing::Preprocessing,
    },
    training::{
        cache::Layout,
        control::Control,
        events::{Event, Events},
        failure::{Failure, StopReason},
        features,
        finish::{TrainedNetwork, finish},
        image_cache,
        input_pipeline::InputPipeline,
        learner::{Learner, Stage, TrainingContext, TrainingResult},
        loss::Loss,
        record_store::RecordStore,
        spec::Job,
        trainable::Trainable,
    },
    weights::checkpoint::{self, Checkpoint, Checkpoints},
};

/// A job ready to train.
pub(super) struct PreparedJob<'a> {
    pub(super) job: &'a Job,
    pub(super) compute: ComputeConfig,
    pub(super) loss: Loss,
    pub(super) preprocessing: Preprocessing,
    pub(super) inputs: InputPipeline,
    pub(super) train: Vec<Sample>,
    pub(super) validation: Vec<Sample>,
    /// Whether an earlier trainer has begun the main training.
    pub(super) resumes: bool,
    /// The checkpoint of earlier training, if any; taken by [`PreparedJob::fit`].
    checkpoint: Cell<Option<Checkpoint>>,
    /// Whether a job that is stopped now has a result: an earlier trainer has begun to train, or
    /// the initial weights are a result.
    has_result: Cell<bool>,
    pub(super) test: Vec<Sample>,
    checkpoints: Checkpoints,
    reporter: PhaseReporter<'a>,
}

impl<'a> PreparedJob<'a> {
    /// Chooses the device, reads the checkpoint, and decodes images that the cache lacks.
    pub(super) fn new(
        job: &'a Job,
        preprocessing: Preprocessing,
        control: &'a Control,
        events: &'a Events,
    ) -> Result<Self, StopReason> {
        let compute = ComputeConfig::choose(&job.spec.params).map_err(Failure::from)?;
        let (checkpoints, checkpoint) = open_checkpoints(job, checkpoint::FOLDER)?;
        let epoch = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state.epoch);
        events.send(&Event::Started {
            device: compute.device_name().to_owned(),
            precision: compute.precision,
            completed_epochs: epoch,
        });
        let resumes = checkpoint.is_some();
        let has_result = resumes || has_head(job)?;
        let reports = PhaseReporter { job, epoch, control, events };
        let [train, validation, test] = Split::ALL.map(|split| job.split(split));
        let report = reports.for_phase(Phase::Preparing, job.samples.len(), has_result);
        let pixels = image_cache::of_job(job, &preprocessing, report)?;
        let pixels = RecordStore::new(pixels, &job.samples, compute);
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
        let objective = Objective::of(&job.spec.classes);
        let class_weights = job.spec.params.class_weights.of(objective.classes(), &train);
        Ok(Self {
            job,
            compute,
            loss: Loss::new(objective, class_weights.as_deref(), compute),
            preprocessing,
            inputs: InputPipeline { pixels, normalise: preprocessing.normalise, compute },
            train,
            validation,
            resumes,
            has_result: Cell::new(has_result),
            checkpoint: Cell::new(checkpoint),
            test,
            checkpoints,
            reporter: reports,
        })
    }

    /// What the outputs of its network mean.
    pub(super) fn objective(&self) -> Objective {
        Objective::of(&self.job.spec.classes)
    }

    /// The small network with random weights.
    pub(super) fn new_cnn(&self) -> Cnn {
        let seed = self.job.spec.params.seed;
        Cnn::random(self.objective().outputs(), seed, self.compute.device)
    }

    /// The records of `samples` that `forward` computes, as far as the cache lacks them.
    pub(super) fn extract(
        &self,
        layout: Layout,
        samples: &[Sample],
        forward: impl Fn(&[Sample]) -> tch::Tensor,
    ) -> Result<RecordStore, StopReason> {
        let report =
            self.reporter.for_phase(Phase::Extracting, samples.len(), self.has_result.get());
        let cache = &self.job.spec.cache;
        let records = features::prepare(cache, layout, samples, forward, report)?;
        Ok(RecordStore::new(records, samples, self.compute))
    }

    /// Trains `learnable` with the job's parameters, from its checkpoint.
    pub(super) fn fit(
        &self,
        stage: Stage,
        trainable: &dyn Trainable,
    ) -> Result<TrainingResult, StopReason> {
        let context = self.context(stage, &self.job.spec.params, &self.checkpoints);
        Learner::new(context, trainable, self.checkpoint.take())?.fit()
    }

    /// From now on there is a result.
    pub(super) fn set_has_result(&self) {
        self.has_result.set(true);
    }

    /// Trains a head alone, before fine-tuning; its checkpoints are in a folder of their own.
    pub(super) fn fit_head(
        &self,
        params: &Params,
        head: &dyn Trainable,
    ) -> Result<TrainingResult, StopReason> {
        let (checkpoints, checkpoint) = open_checkpoints(self.job, checkpoint::HEAD_FOLDER)?;
        let context = self.context(Stage::Head, params, &checkpoints);
        Learner::new(context, head, checkpoint)?.fit()
    }

    /// Evaluates the trained network on the test split and writes the model.
    pub(super) fn finish(
        &self,
        trainable: &dyn Trainable,
        result: TrainingResult,
        network: TrainedNetwork,
    ) -> Result<(), StopReason> {
        let context = self.context(Stage::Main, &self.job.spec.params, &self.checkpoints);
        finish(self.job, context, trainable, result, &self.test, network)
    }

    fn context<'t>(
        &'t self,
        stage: Stage,
        params: &'t Params,
        checkpoints: &'t Checkpoints,
    ) -> TrainingContext<'t> {
        TrainingContext {
            stage,
            params,
            compute: self.compute,
            loss: &self.loss,
            scales_validation: self.job.spec.recipe.scales_validation(),
            train: &self.train,
            validation: &self.validation,
            checkpoints,
            control: self.reporter.control,
            events: self.reporter.events,
        }
    }
}

/// Progress reports of the work before the first epoch, and its check for commands.
#[derive(Clone, Copy)]
struct PhaseReporter<'a> {
    job: &'a Job,
    epoch: u32,
    control: &'a Control,
    events: &'a Events,
}

impl<'a> PhaseReporter<'a> {
    /// Called with the number of `images` that are ready: reports it once a second, and ends the
    /// work if the server requests it. A stopped job that `has_result` needs the work to keep the
    /// result.
    fn for_phase(
        self,
        phase: Phase,
        images: usize,
        has_result: bool,
    ) -> impl FnMut(usize) -> Result<(), StopReason> + use<'a> {
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
                at.elapsed() >= self.events.report_every() || (ready == images && last != images)
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

/// Whether an earlier trainer has completed an epoch of a head: stopped fine-tuning keeps it.
fn has_head(job: &Job) -> Result<bool, StopReason> {
    if !job.folder.join(checkpoint::HEAD_FOLDER).exists() {
        return Ok(false);
    }
    let (_, checkpoint) = open_checkpoints(job, checkpoint::HEAD_FOLDER)?;
    Ok(checkpoint.is_some_and(|checkpoint| checkpoint.state.best.is_some()))
}

/// The checkpoints in a folder of the job's, and the newest that can be read.
fn open_checkpoints(
    job: &Job,
    folder: &str,
) -> Result<(Checkpoints, Option<Checkpoint>), StopReason> {
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
