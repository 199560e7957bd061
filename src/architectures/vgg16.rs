//! VGG16 (Simonyan and Zisserman, 2015, configuration D) without its top, under the head of the
//! reference notebook: 17,992,001 parameters at 180×180.

use std::ops::RangeInclusive;

use tch::{Device, Kind, Tensor};

use super::layers::{Affine, WeightSource, Window, flatten, max_pool_relu};
use crate::weights::tensors::Tensors;

/// Convolutions of each block and their output channels; a 2×2 max-pooling ends a block.
const BLOCKS: [(usize, i64); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];

/// Features of the base for a 180×180 image: 5×5×512.
pub const FEATURES: i64 = 5 * 5 * 512;

/// Shape of block 4's output for a 180×180 image, in the order of memory: height, width, channels.
pub const BLOCK_4: [i64; 3] = [11, 11, 512];

/// Units of the head's hidden layer.
const HIDDEN: i64 = 256;

/// The convolutional base: 14,714,688 parameters.
///
/// Weights are frozen unless [`Base::unfreeze_block_5`] makes those of block 5 trainable.
#[derive(Debug)]
pub struct Base {
    blocks: [Vec<Affine>; 5],
}

impl Base {
    /// The base of these tensors: `block1_conv1.weight` `[64, 3, 3, 3]`, `block1_conv1.bias`
    /// `[64]`, … `block5_conv3.bias`. Others are left in `tensors`.
    ///
    /// # Errors
    /// A message that names the tensor that is missing or of another shape.
    pub fn take_from(tensors: &mut Tensors, device: Device) -> Result<Self, String> {
        let mut source = WeightSource::Tensors(std::mem::take(tensors), device);
        let mut blocks = [const { Vec::new() }; 5];
        let mut channels = 3;
        for (block, (number, (convolutions, filters))) in blocks.iter_mut().zip((1..).zip(BLOCKS)) {
            for convolution in 1..=convolutions {
                let layer = layer(number, convolution);
                block.push(source.affine(&layer, &[filters, channels, 3, 3])?);
                channels = filters;
            }
        }
        if let WeightSource::Tensors(rest, _) = source {
            *tensors = rest;
        }
        Ok(Self { blocks })
    }

    /// Makes the weights of block 5 leaves of the autograd graph, and gives them in `kind`
    /// to the others: what is never changed need be cast only once.
    #[must_use]
    pub fn unfreeze_block_5(self, kind: Kind) -> Self {
        let [one, two, three, four, five] = self.blocks;
        let frozen = |block: Vec<Affine>| block.iter().map(|affine| affine.to_kind(kind)).collect();
        let five = five.into_iter().map(Affine::trainable).collect();
        Self { blocks: [frozen(one), frozen(two), frozen(three), frozen(four), five] }
    }

    /// The same base with all its weights in `kind`.
    #[must_use]
    pub fn frozen(&self, kind: Kind) -> Self {
        Self {
            blocks: self
                .blocks
                .each_ref()
                .map(|block| block.iter().map(|affine| affine.to_kind(kind)).collect()),
        }
    }

    /// Feature maps of blocks 1 to 4 for preprocessed images: `[n, 3, 180, 180]` in, `[n, 512, 11,
    /// 11]` of the same kind out.
    pub fn blocks_1_to_4(&self, images: &Tensor) -> Tensor {
        self.forward(images, 0..=3)
    }

    /// Features `[n, 12800]`, fp32, of block 4's output.
    pub fn block_5(&self, maps: &Tensor) -> Tensor {
        flatten(&self.forward(maps, 4..=4))
    }

    /// Features `[n, 12800]`, fp32, of preprocessed images `[n, 3, 180, 180]`, fp32 or bf16.
    pub fn features(&self, images: &Tensor) -> Tensor {
        self.block_5(&self.blocks_1_to_4(images))
    }

    fn forward(&self, x: &Tensor, blocks: RangeInclusive<usize>) -> Tensor {
        let mut x = x.shallow_clone();
        for block in &self.blocks[blocks] {
            x = max_pool_relu(&convolve(block, x));
        }
        x
    }

    /// Adds the weights of the base to `tensors`, by name; they share memory.
    fn insert_into(&self, tensors: &mut Tensors) {
        for (number, block) in (1..).zip(&self.blocks) {
            for (convolution, affine) in (1..).zip(block) {
                affine.insert_into(tensors, &layer(number, convolution));
            }
        }
    }

    /// The weights of block 5 by name; they share the network's memory.
    #[must_use]
    pub fn block_5_tensors(&self) -> Tensors {
        let mut tensors = Tensors::new();
        for (convolution, affine) in (1..).zip(&self.blocks[4]) {
            affine.insert_into(&mut tensors, &layer(5, convolution));
        }
        tensors
    }
}

/// The maps of the last convolution of a block, not rectified yet.
fn convolve(block: &[Affine], x: Tensor) -> Tensor {
    let Some((first, others)) = block.split_first() else { return x };
    let window = Window::dense(1);
    others
        .iter()
        .fold(first.convolve(&x, window), |mut maps, next| next.convolve(&maps.relu_(), window))
}

/// Keras' name for a convolution: `block1_conv1`.
fn layer(block: usize, convolution: usize) -> String {
    format!("block{block}_conv{convolution}")
}

/// The notebook's classifier over the base's features: dense 256 (linear), dropout, dense 1;
/// 3,277,313 parameters, fp32 leaves of the autograd graph.
#[derive(Debug)]
pub struct Head {
    hidden: Affine,
    output: Affine,
}

impl Head {
    /// A head of random weights, as Keras draws them, from a generator that `seed` sets.
    #[must_use]
    pub fn random(seed: u64, device: Device) -> Self {
        match Self::build(&mut WeightSource::random(seed, device)) {
            Ok(head) => head,
            Err(impossible) => unreachable!("drawing weights can't fail: {impossible}"),
        }
    }

    /// The head of these tensors, by the names that [`Head::tensors`] gives them.
    ///
    /// # Errors
    /// A message that names the tensor that is missing, unexpected or of another shape.
    pub fn from_tensors(tensors: Tensors, device: Device) -> Result<Self, String> {
        let mut source = WeightSource::Tensors(tensors, device);
        let head = Self::build(&mut source)?;
        source.ensure_all_used()?;
        Ok(head)
    }

    fn build(source: &mut WeightSource) -> Result<Self, String> {
        Ok(Self {
            hidden: source.affine("hidden", &[HIDDEN, FEATURES])?.trainable(),
            output: source.affine("output", &[1, HIDDEN])?.trainable(),
        })
    }

    /// Logits `[n]` for features `[n, 12800]`; `dropout` of the hidden values are dropped.
    pub fn forward(&self, features: &Tensor, dropout: f64) -> Tensor {
        let hidden = self.hidden.linear(features);
        let hidden = if dropout > 0.0 { hidden.dropout(dropout, true) } else { hidden };
        self.output.linear(&hidden).squeeze_dim(1)
    }

    /// The same head for inference.
    fn frozen(&self) -> Self {
        Self { hidden: self.hidden.frozen(Kind::Float), output: self.output.frozen(Kind::Float) }
    }

    /// The weights by name: `hidden.weight` `[256, 12800]`, `hidden.bias` `[256]`,
    /// `output.weight` `[1, 256]`, `output.bias` `[1]`. They share the head's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::new();
        self.hidden.insert_into(&mut tensors, "hidden");
        self.output.insert_into(&mut tensors, "output");
        tensors
    }
}

/// The whole network: base and head.
#[derive(Debug)]
pub struct Vgg16 {
    base: Base,
    head: Head,
}

impl Vgg16 {
    /// The network of these tensors, by the names that [`Vgg16::tensors`] gives them.
    ///
    /// # Errors
    /// A message that names the tensor that is missing, unexpected or of another shape.
    pub fn from_tensors(mut tensors: Tensors, device: Device) -> Result<Self, String> {
        let base = Base::take_from(&mut tensors, device)?;
        Ok(Self { base, head: Head::from_tensors(tensors, device)? })
    }

    /// Logits `[n]` for preprocessed images `[n, 3, 180, 180]`, fp32 or bf16.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        self.head.forward(&self.base.features(images), 0.0)
    }

    /// The maps `[n, 512, 11, 11]` of the last convolution, rectified, of preprocessed images
    /// `[n, 3, 180, 180]`, fp32 or bf16.
    pub fn feature_maps(&self, images: &Tensor) -> Tensor {
        convolve(&self.base.blocks[4], self.base.blocks_1_to_4(images)).relu_()
    }

    /// Logits `[n]` for the output of [`Vgg16::feature_maps`].
    pub fn classify(&self, maps: &Tensor) -> Tensor {
        let pooled = maps.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        self.head.forward(&flatten(&pooled), 0.0)
    }

    /// The same network for inference, its convolutions in `kind`.
    #[must_use]
    pub fn for_inference(&self, kind: Kind) -> Self {
        Self { base: self.base.frozen(kind), head: self.head.frozen() }
    }

    /// The weights of base and head by name. They share the network's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut tensors = self.head.tensors();
        self.base.insert_into(&mut tensors);
        tensors
    }
}
