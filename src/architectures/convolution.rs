//! Convolutions as TensorFlow pads them, rectified or not.

use tch::{Device, Kind, Tensor};

use super::{
    fused::{Activation, Fused},
    layers::{Affine, WeightSource, Window},
};
use crate::weights::tensors::Tensors;

/// A convolution with TensorFlow's *same* padding.
///
/// On CUDA, maps and kernels are laid out channels first: for depthwise convolutions of maps laid out
/// channels last, cuDNN compiles kernels for each new shape, which takes seconds.
#[derive(Debug)]
pub(super) struct Convolution {
    affine: Affine,
    stride: i64,
    groups: i64,
    activation: Activation,
    /// The same again, faster, if it is frozen on a CPU.
    fused: Option<Fused>,
}

impl Convolution {
    /// The convolution whose kernel has the shape `[out, in of a group, height, width]`.
    ///
    /// # Errors
    /// A message that names the tensor that is missing or of another shape.
    pub(super) fn new(
        source: &mut WeightSource,
        name: &str,
        shape: [i64; 4],
        (stride, groups): (i64, i64),
        activation: Activation,
    ) -> Result<Self, String> {
        let mut affine = source.affine(name, &shape)?;
        affine.weight = channels_first_on_cuda(&affine.weight);
        Ok(Self { affine, stride, groups, activation, fused: None })
    }

    /// The same with its weights in `kind`, outside the autograd graph.
    pub(super) fn frozen(&self, kind: Kind) -> Self {
        let &Self { stride, groups, activation, .. } = self;
        let affine = self.affine.frozen(kind);
        let fused = match &self.fused {
            // For another thread: both only read the weights.
            Some(fused) if self.affine.weight.kind() == kind => Some(fused.share()),
            _ => Fused::same_padded(&affine, stride, groups, activation),
        };
        Self { affine, stride, groups, activation, fused }
    }

    /// The same with its weights in fp32, as leaves of the autograd graph.
    pub(super) fn trainable(&self) -> Self {
        let &Self { stride, groups, activation, .. } = self;
        let affine = self.affine.frozen(Kind::Float).trainable();
        Self { affine, stride, groups, activation, fused: None }
    }

    /// The maps of `x`, of its kind: each side divided by the stride, rounded up.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let fused = self.fused.as_ref().and_then(|fused| fused.forward(x));
        fused.unwrap_or_else(|| self.forward_in_steps(x))
    }

    /// Adds kernel and bias to `tensors`, by the name of the layer; they share memory.
    pub(super) fn insert_into(&self, tensors: &mut Tensors, layer: &str) {
        self.affine.insert_into(tensors, layer);
    }

    fn forward_in_steps(&self, x: &Tensor) -> Tensor {
        let x = &channels_first_on_cuda(x);
        let (image, kernel) = (x.size(), self.affine.weight.size());
        let [top, bottom] = same_padding(image[2], kernel[2], self.stride);
        let [left, right] = same_padding(image[3], kernel[3], self.stride);
        let window = |padding| Window { stride: self.stride, padding, groups: self.groups };
        let mut maps = if [bottom, left, right] == [top; 3] {
            self.affine.convolve(x, window(top))
        } else {
            self.affine.convolve(&x.constant_pad_nd([left, right, top, bottom]), window(0))
        };
        match self.activation {
            Activation::Relu6 => maps.relu6_(),
            Activation::Relu => maps.relu_(),
            Activation::None => maps,
        }
    }
}

/// `tensor`, of four dimensions, laid out channels first if it is on a GPU; without a copy if it is so
/// already.
fn channels_first_on_cuda(tensor: &Tensor) -> Tensor {
    match tensor.device() {
        Device::Cuda(_) => tensor.contiguous(),
        _ => tensor.shallow_clone(),
    }
}

/// Zeros before and after `size` pixels that a convolution needs for ⌈`size` / `stride`⌉ results: one
/// more after them than before if their number is odd.
pub(crate) const fn same_padding(size: i64, kernel: i64, stride: i64) -> [i64; 2] {
    let results = (size + stride - 1) / stride;
    let missing = (results - 1) * stride + kernel - size;
    let total = if missing > 0 { missing } else { 0 };
    [total / 2, total - total / 2]
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::{super::channels_last, *};

    /// Fused or in steps, each kind of convolution gives the same maps: at the centre, at the edges,
    /// for images of odd sizes, which are not fused at a stride of 2, in both number types, on one
    /// thread and on two, and for batches of any size.
    #[test]
    fn a_fused_convolution_gives_the_same_maps() {
        let source = &mut WeightSource::random(0, Device::Cpu);
        let convolutions = [
            ([8, 16, 1, 1], (1, 1), Activation::None),
            ([32, 16, 3, 3], (2, 1), Activation::Relu6),
            ([16, 1, 3, 3], (1, 16), Activation::Relu6),
            ([16, 1, 3, 3], (2, 16), Activation::Relu6),
            ([16, 1, 5, 5], (1, 16), Activation::Relu6),
            ([16, 1, 5, 5], (2, 16), Activation::None),
        ];
        for (shape, window, activation) in convolutions {
            let convolution = Convolution::new(source, "x", shape, window, activation).unwrap();
            for (height, width, kind, tolerance) in [
                (14, 14, Kind::Float, 1e-5),
                (8, 20, Kind::Float, 1e-5),
                (15, 8, Kind::Float, 1e-5),
                (14, 14, Kind::BFloat16, 0.02),
            ] {
                let images = Tensor::rand([2, 16, height, width], (Kind::Float, Device::Cpu));
                let images = channels_last(&(images * 20 - 10)).to_kind(kind);
                let frozen = convolution.frozen(kind);
                let expected = frozen.forward_in_steps(&images);
                let most = expected.abs().max().double_value(&[]);
                let shared = frozen.frozen(kind);
                // The weights are arranged for one thread or several, at the first input.
                for (threads, convolution) in [(1, &frozen), (2, &frozen), (2, &shared)] {
                    tch::set_num_threads(threads);
                    for first in [1, 0] {
                        let (images, expected) =
                            (images.slice(0, first, None, 1), expected.slice(0, first, None, 1));
                        let maps = convolution.forward(&images);
                        assert_eq!((maps.kind(), maps.size()), (kind, expected.size()));
                        let difference = (&maps - &expected).abs().max().double_value(&[]);
                        assert!(
                            difference < tolerance * most,
                            "{shape:?} {kind:?} {threads}: {difference} of {most}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_frozen_convolution_is_fused_where_libtorch_can_and_a_trained_one_is_not() {
        let source = &mut WeightSource::random(0, Device::Cpu);
        let convolution =
            Convolution::new(source, "x", [8, 4, 3, 3], (2, 1), Activation::None).unwrap();
        let images = Tensor::rand([1, 4, 6, 6], (Kind::Float, Device::Cpu));
        let frozen = convolution.frozen(Kind::Float);
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            assert!(frozen.fused.as_ref().and_then(|fused| fused.forward(&images)).is_some());
        }
        assert!(convolution.trainable().fused.is_none());
        // What is to be differentiated with respect to its input.
        let images = images.set_requires_grad(true);
        assert!(frozen.fused.and_then(|fused| fused.forward(&images)).is_none());
    }
}
