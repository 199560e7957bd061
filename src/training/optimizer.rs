//! RMSprop as in Keras.

use tch::Tensor;

use crate::weights::tensors::{self, Tensors};

/// Decay of the running mean of squared gradients.
const RHO: f64 = 0.9;
/// Keeps the step finite; Keras adds it under the root, PyTorch outside of it.
const EPSILON: f64 = 1e-7;

/// RMSprop without momentum (Tieleman and Hinton, 2012, lecture 6.5), in Keras' form:
/// `v ← ρ·v + (1−ρ)·g²`, `w ← w − η·g / √(v + ε)`.
#[derive(Debug)]
pub struct RmsProp {
    weights: Tensors,
    velocities: Tensors,
}

impl RmsProp {
    /// An optimizer of `weights`, whose memory it changes, with velocities of zero.
    #[must_use]
    pub fn new(weights: Tensors) -> Self {
        let velocities = weights
            .iter()
            .map(|(name, weight)| (name.clone(), weight.zeros_like().detach()))
            .collect();
        Self { weights, velocities }
    }

    /// Goes down the gradient of `loss`, a scalar, by one step of size `learning_rate`.
    pub fn step(&mut self, loss: &Tensor, learning_rate: f64) {
        let weights: Vec<&Tensor> = self.weights.values().collect();
        let gradients = Tensor::run_backward(&[loss], &weights, false, false);
        tch::no_grad(|| {
            let slots = self.weights.values_mut().zip(self.velocities.values_mut());
            for ((weight, velocity), gradient) in slots.zip(&gradients) {
                let _ = velocity.lerp_(&gradient.square(), 1.0 - RHO);
                let _ =
                    weight.subtract_(&(gradient * learning_rate / (&*velocity + EPSILON).sqrt_()));
            }
        });
    }

    /// The velocities by the names of the weights. They share the optimizer's memory.
    #[must_use]
    pub fn state(&self) -> Tensors {
        tensors::share(&self.velocities)
    }

    /// Restores the state of another optimizer of the same weights.
    ///
    /// # Errors
    /// A message that names the tensor that is missing, unexpected or of another shape.
    pub fn restore(&mut self, state: Tensors) -> Result<(), String> {
        tensors::copy_into(&self.velocities, state)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn two_steps_are_those_of_keras() {
        // f(w) = w², so g = 2w; computed by hand with Keras' update from w = 1, η = 0.1.
        let weight = Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let weights = Tensors::from([("w".to_owned(), weight.shallow_clone())]);
        let mut optimizer = RmsProp::new(weights);
        let (mut expected, mut velocity) = (1.0_f64, 0.0_f64);
        for _ in 0..2 {
            optimizer.step(&weight.square().sum(Kind::Float), 0.1);
            let gradient = 2.0 * expected;
            velocity = 0.9 * velocity + 0.1 * gradient * gradient;
            expected -= 0.1 * gradient / (velocity + 1e-7).sqrt();
            assert!((weight.double_value(&[0]) - expected).abs() < 1e-6);
        }
    }
}
