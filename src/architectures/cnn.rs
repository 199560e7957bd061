//! The small convolutional network of the reference notebook: 991,041 parameters.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::channels_last;
use crate::weights::tensors::{self, Tensors};

/// Output channels of each 3×3 convolution, and whether a 2×2 max-pooling follows it.
const CONVOLUTIONS: [(i64, bool); 5] =
    [(32, true), (64, true), (128, true), (256, true), (256, false)];

/// Features that the convolutions leave of a 180×180 image: 7×7×256.
const FEATURES: i64 = 7 * 7 * 256;

/// Five convolutions and a dense layer; see [`Cnn::forward`].
///
/// Weights are fp32 leaves of the autograd graph, on one device.
#[derive(Debug)]
pub struct Cnn {
    convolutions: Vec<Convolution>,
    dense: Affine,
}

#[derive(Debug)]
struct Convolution {
    affine: Affine,
    pooled: bool,
}

/// A kernel and a bias.
#[derive(Debug)]
struct Affine {
    weight: Tensor,
    bias: Tensor,
}

impl Cnn {
    /// A network of random weights: Glorot-uniform kernels and zero biases, as Keras draws them,
    /// from a generator of its own that `seed` sets.
    #[must_use]
    pub fn random(seed: u64, device: Device) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let affine = |_: &str, shape: &[i64]| {
            let weight = glorot_uniform(shape, &mut generator);
            let bias = Tensor::zeros(&shape[..1], (Kind::Float, Device::Cpu));
            Ok(Affine::new(&weight, &bias, device))
        };
        match Self::build(affine) {
            Ok(network) => network,
            Err(impossible) => unreachable!("drawing weights can't fail: {impossible}"),
        }
    }

    /// The network of these tensors, by the names that [`Cnn::tensors`] gives them.
    ///
    /// # Errors
    /// A sentence that names the tensor that is missing or of another shape.
    pub fn from_tensors(mut tensors: Tensors, device: Device) -> Result<Self, String> {
        let network = Self::build(|name, shape| {
            let weight = tensors::take(&mut tensors, &format!("{name}.weight"), shape)?;
            let bias = tensors::take(&mut tensors, &format!("{name}.bias"), &shape[..1])?;
            Ok(Affine::new(&weight, &bias, device))
        })?;
        match tensors.keys().next() {
            Some(name) => Err(format!("tensor `{name}` is not of this network")),
            None => Ok(network),
        }
    }

    /// The layers, each affine part made by `affine` from its name and the shape of its kernel.
    fn build(
        mut affine: impl FnMut(&str, &[i64]) -> Result<Affine, String>,
    ) -> Result<Self, String> {
        let mut channels = 3;
        let mut convolutions = Vec::new();
        for (index, (filters, pooled)) in CONVOLUTIONS.into_iter().enumerate() {
            let affine = affine(&format!("conv{}", index + 1), &[filters, channels, 3, 3])?;
            convolutions.push(Convolution { affine, pooled });
            channels = filters;
        }
        Ok(Self { convolutions, dense: affine("dense", &[1, FEATURES])? })
    }

    /// Logits `[n]` for images `[n, 3, 180, 180]` in 0 to 1, which may be fp32 or bf16: the
    /// convolutions compute in that kind, the dense layer in fp32.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        let mut x = images.shallow_clone();
        for Convolution { affine, pooled } in &self.convolutions {
            let (weight, bias) = affine.to_kind(x.kind());
            x = x.conv2d(&weight, Some(&bias), [1, 1], [0, 0], [1, 1], 1);
            // The maximum of rectified values is the rectified maximum; pooling first leaves a
            // quarter of the values to rectify.
            if *pooled {
                x = x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
            }
            x = x.relu();
        }
        // In the order of memory (height, width, channel), as Keras flattens.
        let features = x.permute([0, 2, 3, 1]).flatten(1, -1).to_kind(Kind::Float);
        features.linear(&self.dense.weight, Some(&self.dense.bias)).squeeze_dim(1)
    }

    /// The weights by name: `conv1.weight` `[32, 3, 3, 3]`, `conv1.bias` `[32]`, … and
    /// `dense.weight` `[1, 12544]`, `dense.bias` `[1]`. They share the network's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let convolutions = self.convolutions.iter().enumerate();
        convolutions
            .map(|(index, convolution)| (format!("conv{}", index + 1), &convolution.affine))
            .chain([("dense".to_owned(), &self.dense)])
            .flat_map(|(name, Affine { weight, bias })| {
                [
                    (format!("{name}.weight"), weight.shallow_clone()),
                    (format!("{name}.bias"), bias.shallow_clone()),
                ]
            })
            .collect()
    }

    /// Weights in all: 991,041.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors().values().map(|tensor| tensor.numel() as u64).sum()
    }
}

impl Affine {
    fn new(weight: &Tensor, bias: &Tensor, device: Device) -> Self {
        let leaf = |tensor: Tensor| {
            tensor.to_kind(Kind::Float).to_device(device).detach().set_requires_grad(true)
        };
        let weight = if weight.dim() == 4 { channels_last(weight) } else { weight.copy() };
        Self { weight: leaf(weight), bias: leaf(bias.copy()) }
    }

    fn to_kind(&self, kind: Kind) -> (Tensor, Tensor) {
        (self.weight.to_kind(kind), self.bias.to_kind(kind))
    }
}

/// Uniform between ±√(6 / (fan in + fan out)), the fans counting a kernel's whole window
/// (Glorot and Bengio, 2010, equation 16; Keras' `GlorotUniform`).
fn glorot_uniform(shape: &[i64], generator: &mut ChaCha8Rng) -> Tensor {
    let window: i64 = shape[2..].iter().product();
    let fans = (shape[0] + shape[1]) * window;
    let limit = (6.0 / fans as f32).sqrt();
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| limit * generator.random_range(-1.0_f32..=1.0))
        .collect();
    Tensor::from_slice(&values).reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_parameters_of_the_notebook() {
        assert_eq!(Cnn::random(0, Device::Cpu).parameters(), 991_041);
    }

    #[test]
    fn a_seed_gives_the_same_network_and_another_another() {
        let tensors = |seed| Cnn::random(seed, Device::Cpu).tensors();
        assert_eq!(tensors(7), tensors(7));
        assert_ne!(tensors(7), tensors(8));
    }

    #[test]
    fn kernels_fill_the_range_of_glorot_and_biases_are_zero() {
        let tensors = Cnn::random(0, Device::Cpu).tensors();
        let kernel = &tensors["conv2.weight"];
        let limit = (6.0 / (9.0 * (32.0 + 64.0_f64))).sqrt();
        let (low, high) = (kernel.min().double_value(&[]), kernel.max().double_value(&[]));
        assert!(-limit <= low && low < -0.99 * limit, "{low} against {limit}");
        assert!(0.99 * limit < high && high <= limit, "{high} against {limit}");
        assert_eq!(tensors["conv2.bias"].abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn tensors_make_the_same_network_again_and_a_wrong_shape_is_named() {
        let network = Cnn::random(3, Device::Cpu);
        let images = Tensor::rand([2, 3, 180, 180], (Kind::Float, Device::Cpu));
        let again = Cnn::from_tensors(network.tensors(), Device::Cpu).unwrap();
        assert_eq!(network.forward(&images).size(), [2]);
        assert_eq!(network.forward(&images), again.forward(&images));

        let mut wrong = network.tensors();
        wrong.insert("conv3.weight".to_owned(), Tensor::zeros([1, 2], (Kind::Float, Device::Cpu)));
        let message = Cnn::from_tensors(wrong, Device::Cpu).unwrap_err();
        assert_eq!(message, "tensor `conv3.weight` has shape [1, 2], not [128, 64, 3, 3]");
    }

    #[test]
    fn bf16_agrees_with_fp32_to_its_precision() {
        let network = Cnn::random(3, Device::Cpu);
        let images = channels_last(&Tensor::rand([2, 3, 180, 180], (Kind::Float, Device::Cpu)));
        let exact = network.forward(&images);
        let rough = network.forward(&images.to_kind(Kind::BFloat16));
        assert_eq!(rough.kind(), Kind::Float);
        assert!((exact - rough).abs().max().double_value(&[]) < 0.02);
    }
}
