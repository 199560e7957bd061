//! Logistic regression on fixed features.
//!
//! Each epoch solves the regression to its minimum under a weaker regularisation than the one before,
//! from its solution on, and then scales its logits to the validation split: what is regularised
//! strongly is too unsure. The epoch with the lowest validation loss is kept. So the strength is
//! chosen on the validation split, and five images per class need no other settings than thousands.

use std::cell::OnceCell;

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::{
    cross_validation, feature_head::FeatureHead, logistic::minimise, prepared::PreparedJob,
};
use crate::{
    domain::{dataset::Sample, metrics::SplitMetrics, objective::Objective, temperature},
    training::{
        evaluate::{self, RunningMetrics},
        failure::StopReason,
        trainable::{CrossValidated, Trainable},
    },
    weights::tensors::Tensors,
};

/// Strengths of the regularisation in the first and in the last epoch: half of it times the squared
/// norm of the weights is added to the sum of the losses of all images.
const STRENGTHS: (f64, f64) = (100.0, 1e-3);

/// That of a single epoch.
const SINGLE_STRENGTH: f64 = 1.0;

/// The strength of `epoch`, starting at 1, of `epochs`: a geometric sequence.
fn strength(epoch: u32, epochs: u32) -> f64 {
    if epochs < 2 {
        return SINGLE_STRENGTH;
    }
    let done = f64::from(epoch - 1) / f64::from(epochs - 1);
    STRENGTHS.0 * (STRENGTHS.1 / STRENGTHS.0).powf(done)
}

/// A head without hidden units, solved in each epoch.
pub(super) struct Regression<'a> {
    head: FeatureHead<'a>,
    job: &'a PreparedJob<'a>,
    /// Features and targets of the training split.
    data: OnceCell<(Tensor, Tensor)>,
}

impl<'a> Regression<'a> {
    pub(super) const fn new(head: FeatureHead<'a>, job: &'a PreparedJob<'_>) -> Self {
        Self { head, job, data: OnceCell::new() }
    }

    /// The factor of the logits with which the validation loss is smallest.
    fn scale(&self) -> Result<f64, StopReason> {
        let PreparedJob { validation, compute, .. } = self.job;
        let batch_size = self.job.job.spec.params.batch_size;
        let predict = |batch: &[Sample]| self.predict_logits(batch);
        let logits = evaluate::logits(predict, validation, *compute, batch_size, |_, _| Ok(()))?;
        let labels: Vec<_> = validation.iter().map(|sample| sample.label).collect();
        Ok(temperature::factor(&logits, &labels))
    }
}

impl Trainable for Regression<'_> {
    fn weights(&self) -> Tensors {
        self.head.weights()
    }

    fn solve(&self, epoch: u32, epochs: u32) -> Result<Option<SplitMetrics>, StopReason> {
        let _no_grad = tch::no_grad_guard();
        let PreparedJob { train, compute, loss, .. } = self.job;
        let (features, targets) =
            self.data.get_or_init(|| (self.head.gather(train), loss.targets(train)));
        let tensors = self.weights();
        let (mut weight, mut bias) =
            (tensors["output.weight"].shallow_clone(), tensors["output.bias"].shallow_clone());
        minimise(loss, features, targets, strength(epoch, epochs), &mut weight, &mut bias);
        let scale = self.scale()?;
        let _ = (weight.g_mul_scalar_(scale), bias.g_mul_scalar_(scale));
        let logits = self.head.head.forward(features);
        let mut metrics = RunningMetrics::new(*compute);
        metrics.add(&loss.of_images(&logits, targets), &loss.correct(&logits, targets));
        Ok(Some(metrics.means()))
    }

    fn training_logits(&self, batch: &[Sample], generator: &mut ChaCha8Rng) -> Tensor {
        self.head.training_logits(batch, generator)
    }

    fn predict_logits(&self, batch: &[Sample]) -> Tensor {
        self.head.predict_logits(batch)
    }

    fn cross_validate(
        &self,
        epochs: u32,
        progress: &mut dyn FnMut(u64, u64) -> Result<(), StopReason>,
    ) -> Result<Option<CrossValidated>, StopReason> {
        let PreparedJob { job, train, validation, test, loss, .. } = self.job;
        let samples = [&**train, validation, test].concat();
        let strengths: Vec<_> =
            (1..=epochs).map(|epoch| strength(epoch, job.spec.params.epochs)).collect();
        let gather = |samples: &[Sample]| self.head.gather(samples);
        cross_validation::of_regression(
            &samples,
            Objective::of(&job.spec.classes),
            loss,
            &strengths,
            gather,
            progress,
        )
    }

    fn embeddings(&self, batch: &[Sample]) -> Option<Tensor> {
        self.head.embeddings(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regularisation_becomes_weaker_from_epoch_to_epoch() {
        let strengths: Vec<_> = (1..=11).map(|epoch| strength(epoch, 11)).collect();
        assert!((strengths[0] - 100.0).abs() < 1e-9 && (strengths[10] - 1e-3).abs() < 1e-9);
        assert!((strengths[4] - 1.0).abs() < 1e-9);
        assert!(strengths.windows(2).all(|pair| pair[1] < pair[0]));
        assert_eq!(strength(1, 1).to_bits(), 1.0_f64.to_bits());
    }
}
