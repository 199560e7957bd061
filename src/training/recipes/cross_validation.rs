//! Cross-validation of the regression on features: as in the job itself, once for each fold, in memory.

use tch::{Kind, Tensor};

use super::logistic::minimise;
use crate::{
    architectures::logit_rows,
    domain::{
        dataset::Sample,
        evaluation::cross_validation::folds,
        objective::{Logits, Objective},
        temperature,
    },
    training::{
        evaluate,
        failure::{Failure, StopReason},
        loss::Loss,
        trainable::CrossValidated,
    },
};

/// Some images: their labels, and their features `[n, width]` and targets on the training device.
struct Fold {
    labels: Vec<usize>,
    features: Tensor,
    targets: Tensor,
}

/// The outputs for all of `samples`, each classified by a regression that was solved without it; of
/// its `strengths` of the regularisation, the one with the lowest loss on another fold counts. None
/// if the dataset has many images. `gather` gives features `[n, width]`; `progress` is called with the
/// number of regressions solved and their total, and may end it.
///
/// # Errors
/// That of `progress`.
pub(super) fn of_regression(
    samples: &[Sample],
    objective: Objective,
    loss: &Loss,
    strengths: &[f64],
    gather: impl Fn(&[Sample]) -> Tensor,
    progress: &mut dyn FnMut(u64, u64) -> Result<(), StopReason>,
) -> Result<Option<CrossValidated>, StopReason> {
    let Some(folds) = folds(samples, objective.classes()) else { return Ok(None) };
    let _no_grad = tch::no_grad_guard();
    let of = |samples: &[Sample]| Fold {
        labels: samples.iter().map(|sample| sample.label).collect(),
        features: gather(samples),
        targets: loss.targets(samples),
    };
    let all = (folds.len() * strengths.len()) as u64;
    let mut solved = 0;
    let mut scored = Vec::with_capacity(samples.len());
    for (index, tested) in folds.iter().enumerate() {
        let next = (index + 1) % folds.len();
        let others = folds.iter().enumerate().filter(|(other, _)| ![index, next].contains(other));
        let train: Vec<_> = others.flat_map(|(_, fold)| fold).copied().collect();
        let mut report = || {
            solved += 1;
            progress(solved - 1, all)
        };
        let [train, validation, test] = [&*train, &*folds[next], &**tested].map(of);
        let Some(logits) =
            logits_of(objective, loss, strengths, [&train, &validation, &test], &mut report)?
        else {
            return Ok(None);
        };
        scored.extend(evaluate::scored_samples(tested, rows(&logits)?));
    }
    Ok(Some(CrossValidated { folds: folds.len(), scored }))
}

fn rows(logits: &Tensor) -> Result<Vec<Logits>, Failure> {
    logit_rows(logits).map_err(|error| Failure::new("internal", error.to_string()))
}

/// The logits of `test` by the regression on `train` that has the lowest loss on `validation`; none if
/// no loss is finite.
fn logits_of(
    objective: Objective,
    loss: &Loss,
    strengths: &[f64],
    [train, validation, test]: [&Fold; 3],
    report: &mut dyn FnMut() -> Result<(), StopReason>,
) -> Result<Option<Tensor>, StopReason> {
    let (outputs, width) = (objective.outputs() as i64, train.features.size()[1]);
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, train.features.device()));
    let (mut weight, mut bias) = (zeros(&[outputs, width]), zeros(&[outputs]));
    let mut best = (f64::INFINITY, None);
    for strength in strengths {
        report()?;
        minimise(loss, &train.features, &train.targets, *strength, &mut weight, &mut bias);
        let logits = rows(&validation.features.linear(&weight, Some(&bias)))?;
        let factor = temperature::factor(&logits, &validation.labels);
        let _ = (weight.g_mul_scalar_(factor), bias.g_mul_scalar_(factor));
        let logits = validation.features.linear(&weight, Some(&bias));
        let losses = loss.of_images(&logits, &validation.targets).sum(Kind::Double);
        let validation_loss = losses.double_value(&[]);
        if validation_loss < best.0 {
            best = (validation_loss, Some(test.features.linear(&weight, Some(&bias))));
        }
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::ComputeConfig,
        domain::{
            ImageId,
            dataset::{Digest, Split},
            evaluation::CrossValidation,
        },
    };

    fn samples(each: usize, classes: usize) -> Vec<Sample> {
        let sample = |number| Sample {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label: number % classes,
            split: Split::Train,
        };
        (0..each * classes).map(sample).collect()
    }

    /// The result with features that `value` gives for an image's place and label.
    fn crossed(
        samples: &[Sample],
        classes: usize,
        width: i64,
        value: impl Fn(usize, usize, i64) -> f32,
    ) -> CrossValidation {
        let objective = if classes == 2 { Objective::Sigmoid } else { Objective::Softmax(classes) };
        let loss = Loss::new(objective, None, ComputeConfig::cpu());
        let place = |sample: &Sample| {
            samples.iter().position(|other| other.image_id == sample.image_id).unwrap()
        };
        let gather = |chosen: &[Sample]| {
            let rows = chosen.iter().flat_map(|sample| {
                let (place, label) = (place(sample), sample.label);
                (0..width).map(move |column| (place, label, column))
            });
            let values: Vec<_> =
                rows.map(|(place, label, column)| value(place, label, column)).collect();
            Tensor::from_slice(&values).reshape([-1, width])
        };
        let strengths = [10.0, 1.0, 0.1];
        let mut calls = Vec::new();
        let mut progress = |done, all| {
            calls.push((done, all));
            Ok(())
        };
        let result = of_regression(samples, objective, &loss, &strengths, gather, &mut progress);
        assert_eq!(calls.first(), Some(&(0, 15)));
        assert_eq!(calls.last(), Some(&(14, 15)));
        result.unwrap().unwrap().summary()
    }

    #[test]
    fn classes_that_features_tell_apart_are_classified_correctly() {
        for classes in [2, 3] {
            let samples = samples(10, classes);
            let result = crossed(&samples, classes, 3, |place, label, column| {
                f32::from(u8::from(column == label as i64)) + (place % 7) as f32 * 0.01
            });
            assert_eq!((result.folds, result.count), (5, 10 * classes as u64));
            assert_eq!(result.correct, result.count);
        }
    }

    /// Each image has a feature of its own: whoever had seen it would be right.
    #[test]
    fn no_image_is_classified_by_a_model_that_has_seen_it() {
        let samples = samples(20, 2);
        let result = crossed(&samples, 2, 40, |place, _, column| {
            f32::from(u8::from(column == place as i64)) * 10.0
        });
        assert!(result.accuracy < 0.7, "{result:?}");
    }

    #[test]
    fn whoever_ends_it_ends_it() {
        let samples = samples(10, 2);
        let loss = Loss::new(Objective::Sigmoid, None, ComputeConfig::cpu());
        let gather = |chosen: &[Sample]| {
            Tensor::zeros([chosen.len() as i64, 2], (Kind::Float, tch::Device::Cpu))
        };
        let mut progress = |done, _| if done < 4 { Ok(()) } else { Err(StopReason::Cancelled) };
        let result =
            of_regression(&samples, Objective::Sigmoid, &loss, &[1.0], gather, &mut progress);
        assert!(matches!(result, Err(StopReason::Cancelled)), "{result:?}");
    }
}
