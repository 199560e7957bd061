//! The small convolutional network of the reference notebook: 991,041 parameters.

use tch::{Device, Kind, Tensor};

use super::{
    conv_relu::ConvRelu,
    layers::{Affine, WeightSource, flatten},
};
use crate::weights::tensors::Tensors;

/// Output channels of each 3×3 convolution, and whether a 2×2 max-pooling follows it.
pub(crate) const CONVOLUTIONS: [(i64, bool); 5] =
    [(32, true), (64, true), (128, true), (256, true), (256, false)];

/// Features that the convolutions leave of a 180×180 image: 7×7×256.
const FEATURES: i64 = 7 * 7 * 256;

/// Five convolutions and a dense layer: [`Cnn::features`], then [`Cnn::classify`].
///
/// Weights are fp32 leaves of the autograd graph, on one device.
#[derive(Debug)]
pub struct Cnn {
    /// Each with whether a 2×2 max-pooling follows it.
    convolutions: Vec<(ConvRelu, bool)>,
    dense: Affine,
}

impl Cnn {
    /// A network of random weights: Glorot-uniform kernels and zero biases, as Keras draws them,
    /// from a generator of its own that `seed` sets.
    #[must_use]
    pub fn random(outputs: usize, seed: u64, device: Device) -> Self {
        match Self::build(WeightSource::random(seed, device), outputs) {
            Ok(network) => network,
            Err(impossible) => unreachable!("drawing weights can't fail: {impossible}"),
        }
    }

    /// The network of these tensors, by the names that [`Cnn::tensors`] gives them.
    ///
    /// # Errors
    /// A message that names the tensor that is missing, unexpected or of another shape.
    pub fn from_tensors(tensors: Tensors, outputs: usize, device: Device) -> Result<Self, String> {
        Self::build(WeightSource::Tensors(tensors, device), outputs)
    }

    fn build(mut source: WeightSource, outputs: usize) -> Result<Self, String> {
        let mut channels = 3;
        let mut convolutions = Vec::new();
        for (number, (filters, pooled)) in (1..).zip(CONVOLUTIONS) {
            let affine = source.affine(&format!("conv{number}"), &[filters, channels, 3, 3])?;
            convolutions.push((ConvRelu::new(affine.trainable(), 0), pooled));
            channels = filters;
        }
        let dense = source.affine("dense", &[outputs as i64, FEATURES])?.trainable();
        source.ensure_all_used()?;
        Ok(Self { convolutions, dense })
    }

    /// The maps `[n, 256, 7, 7]` of the last convolution, rectified, of images `[n, 3, 180, 180]`
    /// in 0 to 1, which may be fp32 or bf16: the convolutions compute in that kind.
    pub fn feature_maps(&self, images: &Tensor) -> Tensor {
        let mut x = images.shallow_clone();
        for (convolution, pooled) in &self.convolutions {
            x = if *pooled { convolution.forward_pooled(&x) } else { convolution.forward(&x) };
        }
        x
    }

    /// Features `[n, 12544]`, fp32, of images as [`Cnn::feature_maps`] takes them.
    pub fn features(&self, images: &Tensor) -> Tensor {
        flatten(&self.feature_maps(images))
    }

    /// Logits `[n, outputs]` for features `[n, 12544]`.
    pub fn classify(&self, features: &Tensor) -> Tensor {
        self.dense.linear(features)
    }

    /// Logits `[n, outputs]` for images `[n, 3, 180, 180]` in 0 to 1.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        self.classify(&self.features(images))
    }

    /// The same network for inference, its convolutions in `kind`.
    #[must_use]
    pub fn for_inference(&self, kind: Kind) -> Self {
        let convert =
            |(convolution, pooled): &(ConvRelu, bool)| (convolution.for_inference(kind), *pooled);
        Self {
            convolutions: self.convolutions.iter().map(convert).collect(),
            dense: self.dense.frozen(Kind::Float),
        }
    }

    /// The weights by name: `conv1.weight` `[32, 3, 3, 3]`, `conv1.bias` `[32]`, … and
    /// `dense.weight` `[outputs, 12544]`, `dense.bias` `[outputs]`. They share the network's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::new();
        for (number, (convolution, _)) in (1..).zip(&self.convolutions) {
            convolution.insert_into(&mut tensors, &format!("conv{number}"));
        }
        self.dense.insert_into(&mut tensors, "dense");
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{channels_last, count_parameters},
        *,
    };

    #[test]
    fn it_has_the_parameters_of_the_notebook() {
        assert_eq!(count_parameters(&Cnn::random(1, 0, Device::Cpu).tensors()), 991_041);
    }

    #[test]
    fn a_seed_gives_the_same_network_and_another_another() {
        let tensors = |seed| Cnn::random(1, seed, Device::Cpu).tensors();
        assert_eq!(tensors(7), tensors(7));
        assert_ne!(tensors(7), tensors(8));
    }

    #[test]
    fn kernels_fill_the_range_of_glorot_and_biases_are_zero() {
        let tensors = Cnn::random(1, 0, Device::Cpu).tensors();
        let kernel = &tensors["conv2.weight"];
        let limit = (6.0 / (9.0 * (32.0 + 64.0_f64))).sqrt();
        let (low, high) = (kernel.min().double_value(&[]), kernel.max().double_value(&[]));
        assert!(-limit <= low && low < -0.99 * limit, "{low} against {limit}");
        assert!(0.99 * limit < high && high <= limit, "{high} against {limit}");
        assert_eq!(tensors["conv2.bias"].abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn tensors_make_the_same_network_again_and_a_wrong_shape_is_named() {
        let network = Cnn::random(4, 3, Device::Cpu);
        let images = Tensor::rand([2, 3, 180, 180], (Kind::Float, Device::Cpu));
        let again = Cnn::from_tensors(network.tensors(), 4, Device::Cpu).unwrap();
        assert_eq!(network.forward(&images).size(), [2, 4]);
        assert_eq!(network.forward(&images), again.forward(&images));

        let mut wrong = network.tensors();
        wrong.insert("conv3.weight".to_owned(), Tensor::zeros([1, 2], (Kind::Float, Device::Cpu)));
        let message = Cnn::from_tensors(wrong, 4, Device::Cpu).unwrap_err();
        assert_eq!(message, "tensor `conv3.weight` has shape [1, 2], expected [128, 64, 3, 3]");
    }

    #[test]
    fn bf16_agrees_with_fp32_to_its_precision() {
        let network = Cnn::random(1, 3, Device::Cpu);
        let images = channels_last(&Tensor::rand([2, 3, 180, 180], (Kind::Float, Device::Cpu)));
        let exact = network.forward(&images);
        let rough = network.forward(&images.to_kind(Kind::BFloat16));
        assert_eq!(rough.kind(), Kind::Float);
        assert!((exact - rough).abs().max().double_value(&[]) < 0.02);
    }
}
