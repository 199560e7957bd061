//! A convolution followed by a ReLU, with or without 2×2 max pooling after it.

use tch::{Kind, Tensor};

use super::{
    fused::{Activation, Fused},
    layers::{Affine, Window},
    simd,
};
use crate::weights::tensors::Tensors;

/// A convolution with a stride of 1, and a ReLU.
#[derive(Debug)]
pub(super) struct ConvRelu {
    affine: Affine,
    window: Window,
    /// The same again, faster, if it is frozen on a CPU.
    fused: Option<Fused>,
    /// The same again, faster still on some CPUs, but rounded otherwise: for inference only.
    simd: Option<simd::Convolution>,
}

impl ConvRelu {
    /// With so many zeros on each side of the input.
    pub(super) const fn new(affine: Affine, padding: i64) -> Self {
        Self { affine, window: Window::dense(padding), fused: None, simd: None }
    }

    /// The same with its weights in `kind`, outside the autograd graph.
    pub(super) fn frozen(&self, kind: Kind) -> Self {
        let affine = self.affine.frozen(kind);
        let fused = match &self.fused {
            // For another thread: both only read the weights.
            Some(fused) if self.affine.weight.kind() == kind => Some(fused.share()),
            _ => Fused::new(&affine, self.window, Activation::Relu),
        };
        Self { affine, window: self.window, fused, simd: None }
    }

    /// As [`ConvRelu::frozen`], for inference: its results may be rounded otherwise than in training.
    pub(super) fn for_inference(&self, kind: Kind) -> Self {
        let frozen = self.frozen(kind);
        let simd = match &self.simd {
            Some(simd) if self.affine.weight.kind() == kind => Some(simd.share()),
            _ => simd::Convolution::where_faster(&frozen.affine, self.window),
        };
        Self { simd, ..frozen }
    }

    /// The same with its weights in fp32, as leaves of the autograd graph.
    pub(super) fn trainable(&self) -> Self {
        let affine = self.affine.frozen(Kind::Float).trainable();
        Self { affine, window: self.window, fused: None, simd: None }
    }

    /// The rectified maps of `x`, of its kind.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let maps = self.simd(x, false).or_else(|| self.fused(x));
        maps.unwrap_or_else(|| self.affine.convolve(x, self.window).relu_())
    }

    /// The rectified maps of `x`, of its kind, after 2×2 max pooling.
    pub(super) fn forward_pooled(&self, x: &Tensor) -> Tensor {
        if let Some(maps) = self.simd(x, true) {
            return maps;
        }
        match self.fused(x) {
            Some(maps) => max_pool_in_steps(&maps),
            // The maximum of rectified values is the rectified maximum; pooling first leaves a
            // quarter of the values to rectify.
            None => max_pool(&self.affine.convolve(x, self.window)).relu(),
        }
    }

    /// Adds kernel and bias to `tensors`, by the name of the layer; they share memory.
    pub(super) fn insert_into(&self, tensors: &mut Tensors, layer: &str) {
        self.affine.insert_into(tensors, layer);
    }

    fn simd(&self, x: &Tensor, pooled: bool) -> Option<Tensor> {
        self.simd.as_ref().and_then(|simd| simd.forward(x, pooled))
    }

    fn fused(&self, x: &Tensor) -> Option<Tensor> {
        self.fused.as_ref().and_then(|fused| fused.forward(x))
    }
}

fn max_pool(maps: &Tensor) -> Tensor {
    maps.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
}

/// As [`max_pool`], of neighbouring columns, then of neighbouring rows. libtorch's own also finds
/// where each maximum is, which only training needs: with few channels this takes half its time.
fn max_pool_in_steps(maps: &Tensor) -> Tensor {
    let pairs = |maps: &Tensor, dimension: i64| {
        let even = maps.size()[dimension as usize] / 2 * 2;
        let each_second = |first| maps.slice(dimension, first, even, 2);
        each_second(0).maximum(&each_second(1))
    };
    pairs(&pairs(maps, 3), 2)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::{
        super::{channels_last, layers::WeightSource},
        *,
    };

    #[test]
    fn frozen_ones_give_the_same_as_those_that_are_trained_pooled_or_not() {
        let source = &mut WeightSource::random(0, Device::Cpu);
        for (channels, size, padding) in
            [(3, (20, 20), 0), (16, (9, 12), 1), (16, (13, 7), 0), (16, (18, 23), 0)]
        {
            let affine = source.affine("x", &[32, channels, 3, 3]).unwrap();
            let bias = Tensor::rand([32], (Kind::Float, Device::Cpu));
            let convolution = ConvRelu::new(Affine { bias, ..affine }, padding);
            for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.02)] {
                for (images, threads) in [(1, 1), (3, 1), (3, 2)] {
                    tch::set_num_threads(threads);
                    let images = Tensor::rand(
                        [images, channels, size.0, size.1],
                        (Kind::Float, Device::Cpu),
                    );
                    let images = channels_last(&(images * 4 - 2)).to_kind(kind);
                    let frozen = convolution.frozen(kind);
                    let shared = frozen.frozen(kind);
                    let simd = simd::Convolution::new(&frozen.affine, frozen.window);
                    let vectorised = ConvRelu { simd, ..frozen.frozen(kind) };
                    for each in [&frozen, &shared, &vectorised, &vectorised.for_inference(kind)] {
                        for (maps, expected) in [
                            (each.forward(&images), convolution.forward(&images)),
                            (each.forward_pooled(&images), convolution.forward_pooled(&images)),
                        ] {
                            assert_eq!((maps.kind(), maps.size()), (kind, expected.size()));
                            let channels_last = channels_last(&maps);
                            assert_eq!(maps.stride(), channels_last.stride());
                            let difference = (&maps - &expected).abs().max().double_value(&[]);
                            let most = expected.abs().max().double_value(&[]);
                            assert!(difference <= tolerance * most, "{difference} of {most}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn pooling_in_steps_is_max_pooling() {
        for (height, width) in [(2, 2), (5, 7), (8, 3), (178, 178)] {
            let maps = Tensor::randn([2, 8, height, width], (Kind::Float, Device::Cpu));
            let maps = channels_last(&maps);
            assert_eq!(max_pool_in_steps(&maps), max_pool(&maps), "{height}×{width}");
        }
    }

    #[test]
    fn gradients_reach_weights_that_are_trained() {
        let source = &mut WeightSource::random(0, Device::Cpu);
        let affine = source.affine("x", &[4, 3, 3, 3]).unwrap();
        let convolution = ConvRelu::new(affine, 1).frozen(Kind::Float).trainable();
        let images = Tensor::rand([2, 3, 6, 6], (Kind::Float, Device::Cpu));
        (convolution.forward(&images).mean(Kind::Float)
            + convolution.forward_pooled(&images).mean(Kind::Float))
        .backward();
        assert!(convolution.affine.weight.grad().abs().max().double_value(&[]) > 0.0);
    }
}
