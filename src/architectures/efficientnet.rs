//! The stages of EfficientNet-Lite (Tan and Le, 2019; its TensorFlow Lite variants). The batch
//! normalisations are folded into the convolutions, which therefore have biases and stay as they are in
//! training.

use tch::{Kind, Tensor};

use super::{
    convolution::Convolution, fused::Activation, layers::WeightSource, parts::in_parts,
    stages::Stages,
};
use crate::{domain::base::Stage, weights::tensors::Tensors};

/// The first convolution, which belongs to stage 1, the blocks of each stage, and the last
/// convolution, which belongs to the last stage.
///
/// On the CPU, frozen convolutions are fused with their ReLU6.
#[derive(Debug)]
pub(super) struct EfficientnetLite {
    stem: Convolution,
    stages: Vec<Vec<Block>>,
    last: Convolution,
}

impl EfficientnetLite {
    /// The stages of these tensors, those of Lite0 for example: `stem.weight` `[32, 3, 3, 3]`,
    /// `stem.bias` `[32]`, `block1_1.depthwise.weight` `[32, 1, 3, 3]`, …, `block1_1.project.bias`
    /// `[16]`, `block2_1.expand.weight` `[96, 16, 1, 1]`, …, `last.weight` `[1280, 320, 1, 1]`,
    /// `last.bias` `[1280]`. The first number of a block is its stage; without an expansion there is
    /// no `expand`.
    ///
    /// # Errors
    /// A message that names the tensor that is missing or of another shape.
    pub(super) fn build(
        source: &mut WeightSource,
        stem: i64,
        stages: &[Stage],
        last: i64,
    ) -> Result<Self, String> {
        let mut channels = stem;
        let stem = Convolution::new(source, "stem", [stem, 3, 3, 3], (2, 1), Activation::Relu6)?;
        let mut built = Vec::with_capacity(stages.len());
        for (number, stage) in (1..).zip(stages) {
            let mut blocks = Vec::with_capacity(stage.blocks);
            for block in 1..=stage.blocks {
                let stride = if block == 1 { stage.stride } else { 1 };
                let name = format!("block{number}_{block}");
                blocks.push(Block::build(source, &name, stage, channels, stride)?);
                channels = stage.channels;
            }
            built.push(blocks);
        }
        let shape = [last, channels, 1, 1];
        let last = Convolution::new(source, "last", shape, (1, 1), Activation::Relu6)?;
        Ok(Self { stem, stages: built, last })
    }
}

impl Stages for EfficientnetLite {
    fn before(&self, first: usize, images: &Tensor) -> Tensor {
        if first == 1 {
            return images.shallow_clone();
        }
        in_parts(images, |images| {
            forward(self.stages[..first - 1].iter().flatten(), self.stem.forward(images))
        })
    }

    fn from(&self, first: usize, maps: &Tensor) -> Tensor {
        let maps = if first == 1 { self.stem.forward(maps) } else { maps.shallow_clone() };
        self.last.forward(&forward(self.stages[first - 1..].iter().flatten(), maps))
    }

    fn maps(&self, images: &Tensor) -> Tensor {
        in_parts(images, |images| self.from(1, images))
    }

    fn converted(&self, first_trained: usize, kind: Kind) -> Box<dyn Stages> {
        let convert = |stage, convolution: &Convolution| {
            if stage < first_trained { convolution.frozen(kind) } else { convolution.trainable() }
        };
        let stages = (1..).zip(&self.stages).map(|(number, stage)| {
            stage.iter().map(|block| block.map(|part| convert(number, part))).collect()
        });
        Box::new(Self {
            stem: convert(1, &self.stem),
            stages: stages.collect(),
            last: convert(self.stages.len(), &self.last),
        })
    }

    fn insert_into(&self, first: usize, tensors: &mut Tensors) {
        if first == 1 {
            self.stem.insert_into(tensors, "stem");
        }
        for (number, stage) in (1..).zip(&self.stages).skip(first - 1) {
            for (block, parts) in (1..).zip(stage) {
                parts.insert_into(tensors, &format!("block{number}_{block}"));
            }
        }
        self.last.insert_into(tensors, "last");
    }
}

fn forward<'a>(blocks: impl Iterator<Item = &'a Block>, maps: Tensor) -> Tensor {
    blocks.fold(maps, |maps, block| block.forward(&maps))
}

/// An inverted residual block: 1×1 expansion, depthwise convolution, 1×1 projection.
#[derive(Debug)]
struct Block {
    expand: Option<Convolution>,
    depthwise: Convolution,
    project: Convolution,
    /// Whether its input is added to its output.
    residual: bool,
}

impl Block {
    fn build(
        source: &mut WeightSource,
        name: &str,
        stage: &Stage,
        inputs: i64,
        stride: i64,
    ) -> Result<Self, String> {
        let Stage { kernel, expansion, channels: outputs, .. } = *stage;
        let hidden = inputs * expansion;
        let mut convolution = |part: &str, shape, window, activation| {
            Convolution::new(source, &format!("{name}.{part}"), shape, window, activation)
        };
        let expand = match expansion {
            1 => None,
            _ => Some(convolution("expand", [hidden, inputs, 1, 1], (1, 1), Activation::Relu6)?),
        };
        let (shape, window) = ([hidden, 1, kernel, kernel], (stride, hidden));
        let depthwise = convolution("depthwise", shape, window, Activation::Relu6)?;
        let shape = [outputs, hidden, 1, 1];
        let project = convolution("project", shape, (1, 1), Activation::None)?;
        let residual = stride == 1 && inputs == outputs;
        Ok(Self { expand, depthwise, project, residual })
    }

    fn map(&self, convert: impl Fn(&Convolution) -> Convolution) -> Self {
        Self {
            expand: self.expand.as_ref().map(&convert),
            depthwise: convert(&self.depthwise),
            project: convert(&self.project),
            residual: self.residual,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let expanded = self.expand.as_ref().map(|expand| expand.forward(x));
        let hidden = self.depthwise.forward(expanded.as_ref().unwrap_or(x));
        let mut maps = self.project.forward(&hidden);
        if self.residual { maps.g_add_(x) } else { maps }
    }

    fn insert_into(&self, tensors: &mut Tensors, name: &str) {
        if let Some(expand) = &self.expand {
            expand.insert_into(tensors, &format!("{name}.expand"));
        }
        self.depthwise.insert_into(tensors, &format!("{name}.depthwise"));
        self.project.insert_into(tensors, &format!("{name}.project"));
    }
}
