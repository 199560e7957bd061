//! What the layers of all base networks have in common.

use std::fmt;

use tch::{Kind, Tensor};

use crate::weights::tensors::Tensors;

/// The stages of a base network, counted from 1. What comes before the first stage belongs to it, and
/// what follows the last one belongs to that.
pub(super) trait Stages: fmt::Debug + Send {
    /// The maps that stage `first` takes, of normalised images `[n, 3, side, side]`, fp32 or bf16.
    fn before(&self, first: usize, images: &Tensor) -> Tensor;

    /// The last maps, rectified and not pooled, of the output of [`Stages::before`].
    fn from(&self, first: usize, maps: &Tensor) -> Tensor;

    /// The last maps, rectified and not pooled, of normalised images `[n, 3, side, side]`, fp32 or
    /// bf16.
    fn maps(&self, images: &Tensor) -> Tensor {
        self.from(1, &self.before(1, images))
    }

    /// The same with the weights of stage `first_trained` and of all that follows as fp32 leaves of
    /// the autograd graph, and those before it frozen in `kind`.
    fn converted(&self, first_trained: usize, kind: Kind) -> Box<dyn Stages>;

    /// Adds the weights of stage `first` and of all that follows to `tensors`, by name; they share
    /// memory.
    fn insert_into(&self, first: usize, tensors: &mut Tensors);
}
