//! Cross-validation of the regression on features: as the job itself, once for each fold, in memory.

use tch::{Kind, Tensor};

use super::{
    feature_head::FeatureHead,
    prepared::PreparedJob,
    regression::{minimise, strength},
};
use crate::{
    architectures::logit_rows,
    domain::{
        dataset::Sample,
        evaluation::{CrossValidation, cross_validation::folds},
        temperature,
    },
    training::failure::{Failure, StopReason},
};

/// Some images: their labels, and their features `[n, width]` and targets on the training device.
struct Fold {
    labels: Vec<usize>,
    features: Tensor,
    targets: Tensor,
}

/// The accuracy on all images of the job, each classified by a regression that was solved without it
/// and whose strength of the regularisation was chosen without it; none if the dataset has many
/// images.
pub(super) fn of_regression(
    job: &PreparedJob<'_>,
    head: &FeatureHead<'_>,
) -> Result<Option<CrossValidation>, StopReason> {
    let samples: Vec<_> = [&job.train, &job.validation, &job.test].into_iter().flatten().collect();
    let samples: Vec<_> = samples.into_iter().copied().collect();
    let Some(folds) = folds(&samples, job.objective().classes()) else { return Ok(None) };
    let _no_grad = tch::no_grad_guard();
    let mut correct = 0;
    for (index, tested) in folds.iter().enumerate() {
        job.check_unless_stopped()?;
        let next = (index + 1) % folds.len();
        let others = folds.iter().enumerate().filter(|(other, _)| ![index, next].contains(other));
        let train: Vec<_> = others.flat_map(|(_, fold)| fold).copied().collect();
        let of = |samples: &[Sample]| Fold {
            labels: samples.iter().map(|sample| sample.label).collect(),
            features: head.gather(samples),
            targets: job.loss.targets(samples),
        };
        correct += correct_of(job, &of(&train), &of(&folds[next]), &of(tested))?;
    }
    let result = CrossValidation::new(folds.len(), correct, samples.len() as u64);
    tracing::info!(
        folds = result.folds,
        correct,
        count = result.count,
        accuracy = result.accuracy,
        "cross-validated"
    );
    Ok(Some(result))
}

/// How many images of `test` are classified correctly by the regression on `train` that has the
/// lowest loss on `validation`.
fn correct_of(
    job: &PreparedJob<'_>,
    train: &Fold,
    validation: &Fold,
    test: &Fold,
) -> Result<u64, StopReason> {
    let epochs = job.job.spec.params.epochs;
    let (outputs, width) = (job.objective().outputs() as i64, train.features.size()[1]);
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, job.compute.device));
    let (mut weight, mut bias) = (zeros(&[outputs, width]), zeros(&[outputs]));
    let mut best = (f64::INFINITY, 0);
    for epoch in 1..=epochs {
        job.check_unless_stopped()?;
        let Fold { features, targets, .. } = train;
        minimise(&job.loss, features, targets, strength(epoch, epochs), &mut weight, &mut bias);
        let logits = logit_rows(&validation.features.linear(&weight, Some(&bias)));
        let logits = logits.map_err(|error| Failure::new("internal", error.to_string()))?;
        let factor = temperature::factor(&logits, &validation.labels);
        let _ = (weight.g_mul_scalar_(factor), bias.g_mul_scalar_(factor));
        let logits = validation.features.linear(&weight, Some(&bias));
        let loss = job.loss.of_images(&logits, &validation.targets).sum(Kind::Double);
        let loss = loss.double_value(&[]);
        if loss < best.0 {
            let logits = test.features.linear(&weight, Some(&bias));
            let correct = job.loss.correct(&logits, &test.targets).sum(Kind::Int64);
            best = (loss, correct.int64_value(&[]) as u64);
        }
    }
    Ok(best.1)
}
