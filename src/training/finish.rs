//! The end of training: evaluates the best epoch on the test split, and writes the model.

use std::{fs, path::Path, time::Instant};

use super::{
    evaluate,
    events::Event,
    failure::{End, Failure},
    learnable::Learnable,
    learner::{REPORT_EVERY, Task, Trained},
    spec::Job,
};
use crate::{
    architectures::{Cnn, Network, parameters},
    domain::{
        Timestamp,
        dataset::{Sample, Split},
        evaluation::{self, Evaluation},
        job::{Phase, Progress},
        metrics::Score,
        model::{Architecture, ModelCard, Preprocessing, Pretrained},
    },
    inference::canary,
    weights::{
        model_file,
        tensors::{self, Tensors},
    },
};

/// File of the model in the job's folder.
pub const MODEL: &str = "model.safetensors";
/// File of the evaluation in the job's folder.
pub const EVALUATION: &str = "evaluation.json";

/// The network that a recipe trained.
#[derive(Debug)]
pub struct Made {
    /// Its layers.
    pub architecture: Architecture,
    /// All its weights, by name.
    pub tensors: Tensors,
    /// Preprocessing of its input.
    pub preprocessing: Preprocessing,
    /// The pretrained weights it started from, if any.
    pub pretrained: Option<Pretrained>,
}

impl Made {
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

/// Evaluates `learnable`, which holds its best epoch, on `test`, and writes the evaluation and the
/// model into the job's folder.
///
/// # Errors
/// Cancelled, suspended, or failed with `disk_full`.
pub fn finish(
    job: &Job,
    task: Task<'_>,
    learnable: &dyn Learnable,
    trained: Trained,
    test: &[Sample],
    made: Made,
) -> Result<(), End> {
    let Trained { best, epochs } = trained;
    let test = if test.is_empty() {
        None
    } else {
        let evaluation = judge(job, &task, learnable, trained, test)?;
        let score = evaluation.score();
        save(&job.folder.join(EVALUATION), &evaluation)?;
        task.events.send(&Event::Evaluation(score));
        Some(score)
    };
    report(&task, Phase::Saving, epochs, 0, 1);
    let Made { architecture, tensors, preprocessing, pretrained } = made;
    let internal = |reason| Failure::new("internal", reason);
    let network = Network::from_tensors(architecture, tensors::share(&tensors), tch::Device::Cpu)
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
        validation: Score {
            count: task.validation.len() as u64,
            loss: best.val_loss,
            accuracy: best.val_accuracy,
        },
        test,
        parameters: parameters(&tensors),
        created_at: Timestamp::now(),
        canaries,
    };
    task.control.check_unless_stopped()?;
    model_file::save(&job.folder.join(MODEL), &card, &tensors)?;
    Ok(())
}

/// Evaluates on the test split; the best threshold is chosen on the validation split.
fn judge(
    job: &Job,
    task: &Task<'_>,
    learnable: &dyn Learnable,
    trained: Trained,
    test: &[Sample],
) -> Result<Evaluation, End> {
    let judged = |samples: &[Sample]| {
        let mut reported: Option<Instant> = None;
        let progress = |done, passes| {
            if reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
                reported = Some(Instant::now());
                report(task, Phase::Evaluating, trained.epochs, done, passes);
            }
            task.control.check_unless_stopped()
        };
        let batch_size = task.params.batch_size;
        let logits = evaluate::logits(learnable, samples, task.compute, batch_size, progress)?;
        Ok::<_, End>(evaluate::judged(samples, &logits))
    };
    let (validation, test) = (judged(task.validation)?, judged(test)?);
    let evaluation = evaluation::evaluate(Split::Test, &job.spec.classes, &test, &validation);
    tracing::info!(
        epoch = trained.best.epoch,
        loss = evaluation.loss,
        accuracy = evaluation.accuracy,
        "evaluated on the test split"
    );
    Ok(evaluation)
}

fn save(path: &Path, evaluation: &Evaluation) -> Result<(), End> {
    let json = serde_json::to_vec(evaluation)
        .map_err(|error| Failure::new("internal", error.to_string()))?;
    // Not renamed into place: it is read only after the event that reports it.
    Ok(fs::write(path, json).map_err(|error| Failure::io(path, &error))?)
}

fn report(task: &Task<'_>, phase: Phase, epoch: u32, step: u64, steps: u64) {
    let epochs = task.params.epochs;
    task.events.send(&Event::Progress(Progress {
        phase,
        epoch,
        epochs,
        step,
        steps,
        eta_seconds: None,
    }));
}
