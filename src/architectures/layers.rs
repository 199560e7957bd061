//! The building blocks of the networks.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::channels_last;
use crate::weights::tensors::{self, Tensors};

/// A kernel and a bias, of a convolution or a dense layer, on one device.
#[derive(Debug)]
pub(super) struct Affine {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl Affine {
    fn new(weight: &Tensor, bias: &Tensor, device: Device) -> Self {
        let place = |tensor: Tensor| tensor.detach().to_kind(Kind::Float).to_device(device);
        let weight = if weight.dim() == 4 { channels_last(weight) } else { weight.copy() };
        Self { weight: place(weight), bias: place(bias.copy()) }
    }

    /// Makes both leaves of the autograd graph, for an optimizer to change.
    pub(super) fn trainable(self) -> Self {
        Self {
            weight: self.weight.set_requires_grad(true),
            bias: self.bias.set_requires_grad(true),
        }
    }

    /// Both in `kind`, without a copy if they already are.
    pub(super) fn to_kind(&self, kind: Kind) -> Self {
        Self { weight: self.weight.to_kind(kind), bias: self.bias.to_kind(kind) }
    }

    /// As [`Affine::to_kind`], outside the autograd graph.
    pub(super) fn frozen(&self, kind: Kind) -> Self {
        let Self { weight, bias } = self.to_kind(kind);
        Self { weight: weight.detach(), bias: bias.detach() }
    }

    /// A convolution of `x`, of its kind.
    pub(super) fn convolve(&self, x: &Tensor, window: Window) -> Tensor {
        let Self { weight, bias } = self.to_kind(x.kind());
        let Window { stride, padding, groups } = window;
        x.conv2d(&weight, Some(&bias), [stride, stride], [padding, padding], [1, 1], groups)
    }

    /// A dense layer over `x`, `[n, inputs]`.
    pub(super) fn linear(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }

    /// Adds both to `tensors`, by the name of the layer; they share memory.
    pub(super) fn insert_into(&self, tensors: &mut Tensors, layer: &str) {
        tensors.insert(format!("{layer}.weight"), self.weight.shallow_clone());
        tensors.insert(format!("{layer}.bias"), self.bias.shallow_clone());
    }
}

/// How the kernel of a convolution moves over its input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Distance of its places, in pixels.
    pub(super) stride: i64,
    /// Zeros around the input, on each side.
    pub(super) padding: i64,
    /// Groups of channels that are convolved separately.
    pub(super) groups: i64,
}

impl Window {
    /// At each pixel, over all channels.
    pub(super) const fn dense(padding: i64) -> Self {
        Self { stride: 1, padding, groups: 1 }
    }
}

/// Where the weights of a new network come from.
pub(super) enum WeightSource {
    /// Drawn as Keras draws them.
    Random(Box<ChaCha8Rng>, Device),
    /// Given by name; each tensor is removed when it is used.
    Tensors(Tensors, Device),
}

impl WeightSource {
    pub(super) fn random(seed: u64, device: Device) -> Self {
        Self::Random(Box::new(ChaCha8Rng::seed_from_u64(seed)), device)
    }

    /// The kernel and bias of a layer whose kernel has that `shape`, outputs first.
    ///
    /// # Errors
    /// A message that names the tensor that is missing or of another shape.
    pub(super) fn affine(&mut self, layer: &str, shape: &[i64]) -> Result<Affine, String> {
        match self {
            Self::Random(generator, device) => {
                let weight = glorot_uniform(shape, generator);
                let bias = Tensor::zeros(&shape[..1], (Kind::Float, Device::Cpu));
                Ok(Affine::new(&weight, &bias, *device))
            }
            Self::Tensors(tensors, device) => {
                let weight = tensors::take(tensors, &format!("{layer}.weight"), shape)?;
                let bias = tensors::take(tensors, &format!("{layer}.bias"), &shape[..1])?;
                Ok(Affine::new(&weight, &bias, *device))
            }
        }
    }

    /// Checks that every given tensor was used.
    ///
    /// # Errors
    /// A message that names one that was not.
    pub(super) fn ensure_all_used(self) -> Result<(), String> {
        match self {
            Self::Tensors(tensors, _) => tensors
                .into_keys()
                .next()
                .map_or(Ok(()), |name| Err(format!("unexpected tensor `{name}`"))),
            Self::Random(..) => Ok(()),
        }
    }
}

/// Feature maps `[n, channels, height, width]` as fp32 vectors, in the order of memory (height,
/// width, channel), as Keras flattens.
pub(super) fn flatten(maps: &Tensor) -> Tensor {
    maps.permute([0, 2, 3, 1]).flatten(1, -1).to_kind(Kind::Float)
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
