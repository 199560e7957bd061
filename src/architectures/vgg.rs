//! The stages of VGG16 (Simonyan and Zisserman, 2015, configuration D): 3×3 convolutions, each followed
//! by a ReLU, and 2×2 max pooling after each stage.

use std::iter;

use tch::{Kind, Tensor};

use super::{
    layers::{Affine, WeightSource, Window, max_pool_relu},
    stages::Stages,
};
use crate::weights::tensors::Tensors;

/// The convolutions of each stage, named as Keras names them: `block1_conv1`, …, `block5_conv3`.
#[derive(Debug)]
pub(super) struct Vgg {
    stages: Vec<Vec<Affine>>,
}

impl Vgg {
    /// Stages with as many convolutions and channels as `stages` says: `block1_conv1.weight`
    /// `[64, 3, 3, 3]`, `block1_conv1.bias` `[64]`, ….
    ///
    /// # Errors
    /// A message that names the tensor that is missing or of another shape.
    pub(super) fn build(
        source: &mut WeightSource,
        stages: &[(usize, i64)],
    ) -> Result<Self, String> {
        let mut channels = 3;
        let stages = (1..).zip(stages).map(|(number, &(convolutions, filters))| {
            (1..=convolutions)
                .map(|convolution| {
                    let shape = [filters, channels, 3, 3];
                    channels = filters;
                    source.affine(&layer(number, convolution), &shape)
                })
                .collect()
        });
        Ok(Self { stages: stages.collect::<Result<_, String>>()? })
    }
}

impl Stages for Vgg {
    fn before(&self, first: usize, images: &Tensor) -> Tensor {
        self.stages[..first - 1]
            .iter()
            .fold(images.shallow_clone(), |x, stage| max_pool_relu(&convolve(stage, x)))
    }

    fn from(&self, first: usize, maps: &Tensor) -> Tensor {
        let Some((last, others)) = self.stages[first - 1..].split_last() else {
            return maps.shallow_clone();
        };
        let maps =
            others.iter().fold(maps.shallow_clone(), |x, stage| max_pool_relu(&convolve(stage, x)));
        convolve(last, maps).relu()
    }

    fn converted(&self, first_trained: usize, kind: Kind) -> Box<dyn Stages> {
        let convert = |number, affine: &Affine| {
            let frozen = affine.frozen(if number < first_trained { kind } else { Kind::Float });
            if number < first_trained { frozen } else { frozen.trainable() }
        };
        let stages = (1..)
            .zip(&self.stages)
            .map(|(number, stage)| stage.iter().map(|affine| convert(number, affine)).collect());
        Box::new(Self { stages: stages.collect() })
    }

    fn insert_into(&self, first: usize, tensors: &mut Tensors) {
        for (number, stage) in iter::zip(1.., &self.stages).skip(first - 1) {
            for (convolution, affine) in (1..).zip(stage) {
                affine.insert_into(tensors, &layer(number, convolution));
            }
        }
    }
}

/// The maps of the last convolution of a stage, not rectified yet.
fn convolve(stage: &[Affine], x: Tensor) -> Tensor {
    let Some((first, others)) = stage.split_first() else { return x };
    let window = Window::dense(1);
    others
        .iter()
        .fold(first.convolve(&x, window), |mut maps, next| next.convolve(&maps.relu_(), window))
}

/// Keras' name for a convolution: `block1_conv1`.
fn layer(stage: usize, convolution: usize) -> String {
    format!("block{stage}_conv{convolution}")
}
