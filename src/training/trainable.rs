//! A network as the learner trains it.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use crate::{
    domain::{dataset::Sample, metrics::SplitMetrics},
    weights::tensors::Tensors,
};

/// What a recipe trains: something that turns images into logits.
pub trait Trainable {
    /// The weights that training changes, by name; they share memory with the network.
    fn weights(&self) -> Tensors;

    /// Trains a whole epoch at once, if the recipe does that, and gives the metrics of the training
    /// split after it. `epoch`, of `epochs`, starts at 1.
    fn solve(&self, _epoch: u32, _epochs: u32) -> Option<SplitMetrics> {
        None
    }

    /// Logits `[n]` of a training batch, part of the autograd graph. Random numbers are drawn from
    /// `generator`, or from libtorch's own.
    fn training_logits(&self, batch: &[Sample], generator: &mut ChaCha8Rng) -> Tensor;

    /// Logits `[n]` of an evaluation batch; deterministic.
    fn predict_logits(&self, batch: &[Sample]) -> Tensor;
}
