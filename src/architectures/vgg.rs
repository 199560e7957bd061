//! The stages of VGG16 (Simonyan and Zisserman, 2015, configuration D): 3×3 convolutions, each followed
//! by a ReLU, and 2×2 max pooling after each stage.

use std::iter;

use tch::{Kind, Tensor};

use super::{conv_relu::ConvRelu, layers::WeightSource, stages::Stages};
use crate::weights::tensors::Tensors;

/// The convolutions of each stage, named as Keras names them: `block1_conv1`, …, `block5_conv3`.
#[derive(Debug)]
pub(super) struct Vgg {
    stages: Vec<Vec<ConvRelu>>,
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
                    let affine = source.affine(&layer(number, convolution), &shape)?;
                    Ok(ConvRelu::new(affine, 1))
                })
                .collect()
        });
        Ok(Self { stages: stages.collect::<Result<_, String>>()? })
    }
}

impl Stages for Vgg {
    fn before(&self, first: usize, images: &Tensor) -> Tensor {
        self.stages[..first - 1].iter().fold(images.shallow_clone(), |x, stage| pooled(stage, x))
    }

    fn from(&self, first: usize, maps: &Tensor) -> Tensor {
        let Some((last, others)) = self.stages[first - 1..].split_last() else {
            return maps.shallow_clone();
        };
        let maps = others.iter().fold(maps.shallow_clone(), |x, stage| pooled(stage, x));
        last.iter().fold(maps, |x, convolution| convolution.forward(&x))
    }

    fn converted(&self, first_trained: usize, kind: Kind) -> Box<dyn Stages> {
        let convert = |number, convolution: &ConvRelu| {
            if number < first_trained { convolution.frozen(kind) } else { convolution.trainable() }
        };
        let stages = (1..)
            .zip(&self.stages)
            .map(|(number, stage)| stage.iter().map(|it| convert(number, it)).collect());
        Box::new(Self { stages: stages.collect() })
    }

    fn insert_into(&self, first: usize, tensors: &mut Tensors) {
        for (number, stage) in iter::zip(1.., &self.stages).skip(first - 1) {
            for (place, convolution) in (1..).zip(stage) {
                convolution.insert_into(tensors, &layer(number, place));
            }
        }
    }
}

/// The maps of a stage after its max pooling.
fn pooled(stage: &[ConvRelu], x: Tensor) -> Tensor {
    let Some((last, others)) = stage.split_last() else { return x };
    last.forward_pooled(&others.iter().fold(x, |x, convolution| convolution.forward(&x)))
}

/// Keras' name for a convolution: `block1_conv1`.
fn layer(stage: usize, convolution: usize) -> String {
    format!("block{stage}_conv{convolution}")
}
