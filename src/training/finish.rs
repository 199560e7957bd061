//! What follows training: judging the best epoch on the test split, and writing the model.

use super::{
    evaluate,
    events::Event,
    failure::{End, Failure},
    learner::{Task, Trained},
    spec::Job,
};
use crate::{
    architectures::Cnn,
    domain::{
        Timestamp,
        dataset::Sample,
        job::{Phase, Progress},
        metrics::Score,
        model::{Architecture, ModelCard, Preprocessing},
    },
    inference::canary,
    weights::model_file,
};

/// File of the model in the job's folder.
pub const MODEL: &str = "model.safetensors";

/// Judges `trained` on `test` and writes the model into the job's folder.
///
/// # Errors
/// Cancelled, suspended, or failed with `disk_full`.
pub fn finish(
    job: &Job,
    task: Task<'_>,
    test: &[Sample],
    architecture: Architecture,
    preprocessing: Preprocessing,
    trained: Trained,
) -> Result<(), End> {
    let Trained { weights, best } = trained;
    let network = Cnn::from_tensors(weights, task.compute.device)
        .map_err(|reason| Failure::new("bad_job", format!("the best epoch's weights: {reason}")))?;
    let test = if test.is_empty() { None } else { Some(judge(&task, &network, test, best.epoch)?) };
    report(&task, Phase::Saving, best.epoch, 0, 1);
    let canaries = canary::logits(&network, &preprocessing)
        .map_err(|reason| Failure::new("internal", format!("the canary images: {reason}")))?;
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
        parameters: network.parameters(),
        created_at: Timestamp::now(),
        canaries,
    };
    task.control.check_unless_stopped()?;
    model_file::save(&job.folder.join(MODEL), &card, &network.tensors())?;
    Ok(())
}

fn judge(task: &Task<'_>, network: &Cnn, test: &[Sample], epoch: u32) -> Result<Score, End> {
    let batch_size = task.params.batch_size as usize;
    let batches = test.len().div_ceil(batch_size) as u64;
    report(task, Phase::Evaluating, epoch, 0, batches);
    let score = evaluate::score(network, task.pixels, test, batch_size, task.compute, |_| {
        task.control.check_unless_stopped()
    })?;
    tracing::info!(epoch, loss = score.loss, accuracy = score.accuracy, "judged on the test split");
    task.events.send(&Event::Evaluation(score));
    Ok(score)
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
