//! The end of training: evaluates the best epoch on the test split, and writes the model.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    time::Instant,
};

use super::{
    calibrate::{Calibration, Scorer},
    events::Event,
    failure::{Failure, StopReason},
    learner::{TrainingContext, TrainingResult},
    spec::Job,
    trainable::{CrossValidated, Trainable},
};
use crate::{
    architectures::{Cnn, Network, count_parameters},
    domain::{
        Timestamp,
        baseline::ValidationAnswers,
        dataset::{Classes, Sample, Split},
        evaluation::{self, CrossValidation, Evaluation, ScoredSample, UnsureReport},
        job::{Phase, Progress},
        metrics::SplitMetrics,
        model::{Architecture, ModelCard, Pretrained},
        objective::Objective,
        preprocessing::Preprocessing,
    },
    model_file::{self, canary},
    neighbours::Neighbours,
    weights::tensors::{self, Tensors},
};

/// File of the model in the job's folder.
pub const MODEL: &str = "model.safetensors";
/// File of the evaluation in the job's folder.
pub const EVALUATION: &str = "evaluation.json";

/// The network that a recipe trained.
#[derive(Debug)]
pub struct TrainedNetwork {
    /// Its layers.
    pub architecture: Architecture,
    /// All its weights, by name.
    pub tensors: Tensors,
    /// Preprocessing of its input.
    pub preprocessing: Preprocessing,
    /// The pretrained weights it started from, if any.
    pub pretrained: Option<Pretrained>,
}

impl TrainedNetwork {
    /// A small network trained from scratch.
    #[must_use]
    pub fn cnn(network: &Cnn, preprocessing: Preprocessing) -> Self {
        Self {
            architecture: Architecture::Cnn,
            tensors: network.tensors(),
            preprocessing,
            pretrained: None,
        }
    }
}

/// Evaluates `trainable`, which holds its best epoch, on `test`, and writes the evaluation and the
/// model into the job's folder.
///
/// # Errors
/// Cancelled, suspended, or failed with `disk_full`.
pub fn finish(
    job: &Job,
    context: TrainingContext<'_>,
    trainable: &dyn Trainable,
    result: TrainingResult,
    test: &[Sample],
    network: TrainedNetwork,
) -> Result<(), StopReason> {
    let TrainingResult { best, epochs } = result;
    let mut reported: Option<Instant> = None;
    let progress = |done, passes| {
        if reported.is_none_or(|at| at.elapsed() >= context.events.report_every()) {
            reported = Some(Instant::now());
            report(&context, Phase::Evaluating, epochs, done, passes);
        }
        context.control.check_unless_stopped()
    };
    let (compute, batch_size) = (context.compute, context.params.batch_size);
    let mut scorer = Scorer { trainable, compute, batch_size, progress };
    let validation = scorer.scored(context.validation)?;
    let crossed = trainable.cross_validate(epochs, &mut scorer.progress)?;
    let crossed_summary = crossed.as_ref().map(CrossValidated::summary);
    if let Some(CrossValidation { folds, correct, count, accuracy, .. }) = crossed_summary {
        tracing::info!(folds, correct, count, accuracy, "cross-validated");
    }
    // A handful of validation images say little about probabilities; those of the test split stay apart.
    let calibrated_on = match crossed {
        Some(crossed) => not_of(crossed.scored, test),
        None => validation.clone(),
    };
    let calibration = scorer.calibrate(context.train, context.validation, &calibrated_on)?;
    let Calibration { scale, thresholds, coverage, neighbours, distances } = calibration;
    let answers: Vec<_> = validation
        .iter()
        .map(|sample| sample.logits.predicted())
        .zip(
            evaluation::answers(&validation, scale).into_iter().map(|(probability, _)| probability),
        )
        .collect();
    let classes = job.spec.classes.names().len();
    let answers = ValidationAnswers::new(classes, &answers, &distances, thresholds);
    let test = if test.is_empty() {
        None
    } else {
        let scored = scorer.scored(test)?;
        let distances = match &neighbours {
            Some(neighbours) => scorer.distances(test, neighbours)?,
            None => Vec::new(),
        };
        let classes = &job.spec.classes;
        let mut evaluation =
            evaluation::evaluate(Split::Test, classes, &scored, &validation, scale);
        evaluation.class_weights = class_weights(&context, classes);
        evaluation.cross_validation = crossed_summary;
        let answers = evaluation::answers(&scored, scale);
        evaluation.unsure = Some(UnsureReport::new(&answers, &distances, thresholds));
        let metrics = evaluation.metrics();
        let SplitMetrics { loss, accuracy, .. } = metrics;
        let (epoch, temperature) = (best.epoch, scale.recip());
        tracing::info!(epoch, loss, accuracy, temperature, "evaluated on the test split");
        save(&job.folder.join(EVALUATION), &evaluation)?;
        context.events.send(&Event::Evaluation(metrics));
        Some(metrics)
    };
    report(&context, Phase::Saving, epochs, 0, 1);
    let TrainedNetwork { architecture, tensors, preprocessing, pretrained } = network;
    let internal = |reason| Failure::new("internal", reason);
    let objective = Objective::of(&job.spec.classes);
    let weights = tensors::share(&tensors);
    let network = Network::from_tensors(architecture, objective, weights, tch::Device::Cpu)
        .map_err(internal)?;
    let canaries = canary::logits(&network, &preprocessing).map_err(internal)?;
    let spec = &job.spec;
    let card = ModelCard {
        format: model_file::FORMAT,
        pawprint_version: env!("CARGO_PKG_VERSION").to_owned(),
        id: spec.model_id,
        name: spec.name.clone(),
        architecture,
        classes: spec.classes.clone(),
        preprocessing,
        recipe: spec.recipe,
        params: spec.params.clone(),
        pretrained,
        dataset: spec.dataset.clone(),
        dataset_version: spec.dataset_version,
        job_id: spec.job_id,
        epoch: best.epoch,
        validation: SplitMetrics {
            count: context.validation.len() as u64,
            loss: best.val_loss,
            accuracy: best.val_accuracy,
        },
        test,
        temperature: Some(scale.recip()),
        neighbours: neighbours.as_ref().map(Neighbours::digest),
        thresholds,
        coverage,
        answers: Some(answers),
        parameters: count_parameters(&tensors),
        created_at: Timestamp::now(),
        canaries,
    };
    let mut tensors = tensors;
    if let Some(neighbours) = &neighbours {
        neighbours.insert_into(&mut tensors);
    }
    context.control.check_unless_stopped()?;
    model_file::save(&job.folder.join(MODEL), &card, &tensors)?;
    Ok(())
}

/// Those of `scored` that are not in `test`.
fn not_of(scored: Vec<ScoredSample>, test: &[Sample]) -> Vec<ScoredSample> {
    let test: HashSet<_> = test.iter().map(|sample| sample.image_id).collect();
    scored.into_iter().filter(|sample| !test.contains(&sample.image_id)).collect()
}

/// The weight of each class in the loss, by name.
fn class_weights(
    context: &TrainingContext<'_>,
    classes: &Classes,
) -> Option<BTreeMap<String, f64>> {
    let names = classes.names();
    let weights = context.params.class_weights.of(names.len(), context.train)?;
    Some(names.iter().map(ToString::to_string).zip(weights).collect())
}

fn save(path: &Path, evaluation: &Evaluation) -> Result<(), StopReason> {
    let json = serde_json::to_vec(evaluation)
        .map_err(|error| Failure::new("internal", error.to_string()))?;
    // Not renamed into place: it is read only after the event that reports it.
    Ok(fs::write(path, json).map_err(|error| Failure::io(path, &error))?)
}

fn report(context: &TrainingContext<'_>, phase: Phase, epoch: u32, step: u64, steps: u64) {
    let epochs = context.params.epochs;
    context.events.send(&Event::Progress(Progress {
        phase,
        epoch,
        epochs,
        step,
        steps,
        eta_seconds: None,
    }));
}
