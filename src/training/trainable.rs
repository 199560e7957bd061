//! A network as the learner trains it.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use crate::{
    domain::{
        dataset::Sample,
        evaluation::{CrossValidation, ScoredSample},
        metrics::SplitMetrics,
    },
    training::failure::StopReason,
    weights::tensors::Tensors,
};

/// Outputs for the images of all splits, each by a network that was trained without it.
#[derive(Debug)]
pub struct CrossValidated {
    /// Number of networks.
    pub folds: usize,
    /// The outputs.
    pub scored: Vec<ScoredSample>,
}

impl CrossValidated {
    /// The accuracy.
    #[must_use]
    pub fn summary(&self) -> CrossValidation {
        let right = |sample: &&ScoredSample| sample.logits.predicted() == sample.label;
        let correct = self.scored.iter().filter(right).count();
        CrossValidation::new(self.folds, correct as u64, self.scored.len() as u64)
    }
}

/// What a recipe trains: something that turns images into logits.
pub trait Trainable {
    /// The weights that training changes, by name; they share memory with the network.
    fn weights(&self) -> Tensors;

    /// Trains a whole epoch at once, if the recipe does that, and gives the metrics of the training
    /// split after it. `epoch`, of `epochs`, starts at 1.
    ///
    /// # Errors
    /// It failed or was ended.
    fn solve(&self, _epoch: u32, _epochs: u32) -> Result<Option<SplitMetrics>, StopReason> {
        Ok(None)
    }

    /// Logits `[n, outputs]` of a training batch, part of the autograd graph. Random numbers are drawn from
    /// `generator`, or from libtorch's own.
    fn training_logits(&self, batch: &[Sample], generator: &mut ChaCha8Rng) -> Tensor;

    /// Logits `[n, outputs]` of an evaluation batch; deterministic.
    fn predict_logits(&self, batch: &[Sample]) -> Tensor;

    /// Trains it again by cross-validation, `epochs` epochs for each fold, if the dataset is small and
    /// its features are fixed. `progress` is called with the epochs done and their total, and may end it.
    ///
    /// # Errors
    /// That of `progress`.
    fn cross_validate(
        &self,
        _epochs: u32,
        _progress: &mut dyn FnMut(u64, u64) -> Result<(), StopReason>,
    ) -> Result<Option<CrossValidated>, StopReason> {
        Ok(None)
    }

    /// What the images of an evaluation batch are compared by, `[n, width]`: the embeddings of
    /// [`crate::architectures::Network`].
    fn embeddings(&self, _batch: &[Sample]) -> Option<Tensor> {
        None
    }
}
