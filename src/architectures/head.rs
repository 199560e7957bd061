//! The head of a classifier on the features of a base network.

use tch::{Device, Kind, Tensor};

use super::layers::{Affine, WeightSource};
use crate::{domain::base::Base, weights::tensors::Tensors};

/// Dropout and a dense layer, after a dense linear layer if the base network's
/// [`crate::domain::base::HeadConfig`] has hidden units; fp32 leaves of the autograd graph.
#[derive(Debug)]
pub struct Head {
    hidden: Option<Affine>,
    output: Affine,
    dropout: f64,
}

impl Head {
    /// A new head: zero where training is logistic regression, otherwise random as Keras draws its
    /// weights, from a generator that `seed` sets.
    #[must_use]
    pub fn new(base: &Base, outputs: usize, seed: u64, device: Device) -> Self {
        if base.head.hidden.is_none() {
            let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, device));
            let units = outputs as i64;
            let output = Affine { weight: zeros(&[units, base.features]), bias: zeros(&[units]) };
            return Self { hidden: None, output: output.trainable(), dropout: base.head.dropout };
        }
        match Self::build(&mut WeightSource::random(seed, device), base, outputs) {
            Ok(head) => head,
            Err(impossible) => unreachable!("drawing weights can't fail: {impossible}"),
        }
    }

    /// The head of these tensors, by the names that [`Head::tensors`] gives them.
    ///
    /// # Errors
    /// A message that names the tensor that is missing, unexpected or of another shape.
    pub fn from_tensors(
        tensors: Tensors,
        base: &Base,
        outputs: usize,
        device: Device,
    ) -> Result<Self, String> {
        let mut source = WeightSource::Tensors(tensors, device);
        let head = Self::build(&mut source, base, outputs)?;
        source.ensure_all_used()?;
        Ok(head)
    }

    fn build(source: &mut WeightSource, base: &Base, outputs: usize) -> Result<Self, String> {
        let hidden = match base.head.hidden {
            Some(units) => Some(source.affine("hidden", &[units, base.features])?.trainable()),
            None => None,
        };
        let inputs = base.head.hidden.unwrap_or(base.features);
        let output = source.affine("output", &[outputs as i64, inputs])?.trainable();
        Ok(Self { hidden, output, dropout: base.head.dropout })
    }

    /// Logits `[n, outputs]` for features `[n, features]`.
    pub fn forward(&self, features: &Tensor) -> Tensor {
        self.output.linear(&self.hidden(features))
    }

    /// Logits `[n, outputs]` for features `[n, features]` in training: some inputs of the last layer
    /// are dropped.
    pub fn training_forward(&self, features: &Tensor) -> Tensor {
        let inputs = self.hidden(features).dropout(self.dropout, true);
        self.output.linear(&inputs)
    }

    fn hidden(&self, features: &Tensor) -> Tensor {
        self.hidden.as_ref().map_or_else(|| features.shallow_clone(), |it| it.linear(features))
    }

    /// The same head for inference.
    pub(super) fn frozen(&self) -> Self {
        Self {
            hidden: self.hidden.as_ref().map(|hidden| hidden.frozen(Kind::Float)),
            output: self.output.frozen(Kind::Float),
            dropout: self.dropout,
        }
    }

    /// The weights by name: `hidden.weight` `[units, features]` and `hidden.bias` `[units]` if it has
    /// hidden units, `output.weight` `[outputs, units or features]`, `output.bias` `[outputs]`. They
    /// share the head's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::new();
        if let Some(hidden) = &self.hidden {
            hidden.insert_into(&mut tensors, "hidden");
        }
        self.output.insert_into(&mut tensors, "output");
        tensors
    }
}
