//! What can be trained: a network as the learner sees it.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use crate::{domain::dataset::Sample, weights::tensors::Tensors};

/// What a recipe trains: something that turns photos into logits.
pub trait Trainable {
    /// The weights that training changes, by name; they share memory with what computes.
    fn weights(&self) -> Tensors;

    /// Logits `[n]` of a batch to learn from, part of the autograd graph. What is random in it
    /// is drawn from `generator`, or by libtorch's own.
    fn training_logits(&self, batch: &[Sample], generator: &mut ChaCha8Rng) -> Tensor;

    /// Logits `[n]` of a batch to predict; nothing in it is random.
    fn predict_logits(&self, batch: &[Sample]) -> Tensor;
}
