//! EfficientNet-Lite0 (Tan and Le, 2019; its TensorFlow Lite variant) without its top, under a head of
//! one dense layer. The batch normalisations are folded into the convolutions, which therefore have
//! biases and stay as they are in training.

use tch::{Device, Kind, Tensor};

use super::{
    convolution::Convolution,
    fused::Activation,
    layers::{Affine, WeightSource},
    parts::in_parts,
};
use crate::weights::tensors::Tensors;

/// Features of the base: the channels of its last maps, averaged.
pub const FEATURES: i64 = 1280;

/// Channels of the stem.
const STEM: i64 = 32;

/// One stage of inverted residual blocks.
struct Stage {
    blocks: usize,
    kernel: i64,
    /// Of its first block.
    stride: i64,
    /// Channels of the depthwise convolution, as a multiple of those that enter the block.
    expansion: i64,
    channels: i64,
}

const STAGES: [Stage; 7] = [
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 1, channels: 16 },
    Stage { blocks: 2, kernel: 3, stride: 2, expansion: 6, channels: 24 },
    Stage { blocks: 2, kernel: 5, stride: 2, expansion: 6, channels: 40 },
    Stage { blocks: 3, kernel: 3, stride: 2, expansion: 6, channels: 80 },
    Stage { blocks: 3, kernel: 5, stride: 1, expansion: 6, channels: 112 },
    Stage { blocks: 4, kernel: 5, stride: 2, expansion: 6, channels: 192 },
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 6, channels: 320 },
];

/// The convolutional base: 3,350,000 parameters.
///
/// Weights are frozen unless [`Base::unfreeze_from`] makes those of the last stages trainable.
/// Stages are counted from 1 to 7; the last convolution belongs to what follows any of them.
#[derive(Debug)]
pub struct Base {
    stem: Convolution,
    stages: Vec<Vec<Block>>,
    last: Convolution,
}

impl Base {
    /// The base of these tensors: `stem.weight` `[32, 3, 3, 3]`, `stem.bias` `[32]`,
    /// `block1_1.depthwise.weight` `[32, 1, 3, 3]`, …, `block1_1.project.bias` `[16]`,
    /// `block2_1.expand.weight` `[96, 16, 1, 1]`, …, `last.weight` `[1280, 320, 1, 1]`,
    /// `last.bias` `[1280]`. The first number of a block is its stage; those of stage 1 have no
    /// `expand`. Others are left in `tensors`.
    ///
    /// # Errors
    /// A message that names the tensor that is missing or of another shape.
    pub fn take_from(tensors: &mut Tensors, device: Device) -> Result<Self, String> {
        let mut source = WeightSource::Tensors(std::mem::take(tensors), device);
        let base = Self::build(&mut source)?;
        if let WeightSource::Tensors(rest, _) = source {
            *tensors = rest;
        }
        Ok(base)
    }

    fn build(source: &mut WeightSource) -> Result<Self, String> {
        let stem = Convolution::new(source, "stem", [STEM, 3, 3, 3], (2, 1), Activation::Relu6)?;
        let mut channels = STEM;
        let mut stages = Vec::with_capacity(STAGES.len());
        for (number, stage) in (1..).zip(&STAGES) {
            let mut blocks = Vec::with_capacity(stage.blocks);
            for block in 1..=stage.blocks {
                let stride = if block == 1 { stage.stride } else { 1 };
                let name = format!("block{number}_{block}");
                blocks.push(Block::build(source, &name, stage, channels, stride)?);
                channels = stage.channels;
            }
            stages.push(blocks);
        }
        let shape = [FEATURES, channels, 1, 1];
        let last = Convolution::new(source, "last", shape, (1, 1), Activation::Relu6)?;
        Ok(Self { stem, stages, last })
    }

    /// Makes the weights of stage `first` and of all that follows it leaves of the autograd graph,
    /// and gives them in `kind` to the stages before: what is never changed need be cast only once.
    #[must_use]
    pub fn unfreeze_from(self, first: usize, kind: Kind) -> Self {
        let convert = |stage, convolution: &Convolution| {
            if stage < first { convolution.frozen(kind) } else { convolution.trainable() }
        };
        self.map(convert)
    }

    /// The same base for inference, with its weights in `kind` as they are now: on the CPU, rearranged
    /// copies are kept for convolutions fused with their ReLU6.
    #[must_use]
    pub fn for_inference(&self, kind: Kind) -> Self {
        self.map(|_, convolution| convolution.frozen(kind))
    }

    /// Converts each convolution; the stem counts as stage 0, the last one as stage 8.
    fn map(&self, convert: impl Fn(usize, &Convolution) -> Convolution) -> Self {
        let stages = (1..).zip(&self.stages).map(|(number, stage)| {
            stage.iter().map(|block| block.map(|part| convert(number, part))).collect()
        });
        Self {
            stem: convert(0, &self.stem),
            stages: stages.collect(),
            last: convert(STAGES.len() + 1, &self.last),
        }
    }

    /// The maps that stage `first` takes, of normalised images `[n, 3, 224, 224]`, fp32 or bf16:
    /// `[n, 80, 14, 14]` of the same kind before stage 5.
    pub fn stages_before(&self, first: usize, images: &Tensor) -> Tensor {
        let stages = || (1..).zip(&self.stages).filter(|(number, _)| *number < first);
        in_parts(images, |images| {
            forward(stages().flat_map(|(_, stage)| stage), self.stem.forward(images))
        })
    }

    /// The last maps, `[n, 1280, 7, 7]`, rectified, of the output of [`Base::stages_before`].
    pub fn stages_from(&self, first: usize, maps: &Tensor) -> Tensor {
        let stages = (1..).zip(&self.stages).filter(|(number, _)| *number >= first);
        self.last.forward(&forward(stages.flat_map(|(_, stage)| stage), maps.shallow_clone()))
    }

    /// The last maps, `[n, 1280, 7, 7]`, rectified, of normalised images `[n, 3, 224, 224]`, fp32 or
    /// bf16.
    pub fn feature_maps(&self, images: &Tensor) -> Tensor {
        self.stages_from(1, &self.stages_before(1, images))
    }

    /// Features `[n, 1280]`, fp32, of normalised images `[n, 3, 224, 224]`, fp32 or bf16.
    pub fn features(&self, images: &Tensor) -> Tensor {
        in_parts(images, |images| average(&self.feature_maps(images)))
    }

    /// The weights by name, as [`Base::take_from`] takes them. They share the network's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut tensors = self.tensors_from(1);
        self.stem.insert_into(&mut tensors, "stem");
        tensors
    }

    /// The weights by name of stage `first` and of all that follows it: those that
    /// [`Base::unfreeze_from`] makes trainable. They share the network's memory.
    #[must_use]
    pub fn tensors_from(&self, first: usize) -> Tensors {
        let mut tensors = Tensors::new();
        for (number, stage) in (1..).zip(&self.stages).filter(|(number, _)| *number >= first) {
            for (block, parts) in (1..).zip(stage) {
                parts.insert_into(&mut tensors, &format!("block{number}_{block}"));
            }
        }
        self.last.insert_into(&mut tensors, "last");
        tensors
    }
}

fn forward<'a>(blocks: impl Iterator<Item = &'a Block>, maps: Tensor) -> Tensor {
    blocks.fold(maps, |maps, block| block.forward(&maps))
}

/// Features `[n, channels]`, fp32, of maps `[n, channels, height, width]`: their averages.
pub fn average(maps: &Tensor) -> Tensor {
    maps.mean_dim([2, 3].as_slice(), false, Kind::Float)
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

/// Dropout and a dense layer with one output over the base's features: 1,281 parameters, fp32 leaves
/// of the autograd graph.
#[derive(Debug)]
pub struct Head {
    output: Affine,
}

impl Head {
    /// A head whose weights are zero.
    #[must_use]
    pub fn zeros(device: Device) -> Self {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, device));
        let output = Affine { weight: zeros(&[1, FEATURES]), bias: zeros(&[1]) };
        Self { output: output.trainable() }
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
        Ok(Self { output: source.affine("output", &[1, FEATURES])?.trainable() })
    }

    /// Logits `[n]` for features `[n, 1280]`, of which `dropout` are dropped.
    pub fn forward(&self, features: &Tensor, dropout: f64) -> Tensor {
        let logits = if dropout > 0.0 {
            self.output.linear(&features.dropout(dropout, true))
        } else {
            self.output.linear(features)
        };
        logits.squeeze_dim(1)
    }

    /// The same head for inference.
    fn frozen(&self) -> Self {
        Self { output: self.output.frozen(Kind::Float) }
    }

    /// The weights by name: `output.weight` `[1, 1280]`, `output.bias` `[1]`. They share the head's
    /// memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::new();
        self.output.insert_into(&mut tensors, "output");
        tensors
    }
}

/// The whole network: base and head.
#[derive(Debug)]
pub struct EfficientNet {
    base: Base,
    head: Head,
}

impl EfficientNet {
    /// The network of these tensors, by the names that [`EfficientNet::tensors`] gives them.
    ///
    /// # Errors
    /// A message that names the tensor that is missing, unexpected or of another shape.
    pub fn from_tensors(mut tensors: Tensors, device: Device) -> Result<Self, String> {
        let base = Base::take_from(&mut tensors, device)?;
        Ok(Self { base, head: Head::from_tensors(tensors, device)? })
    }

    /// Logits `[n]` for normalised images `[n, 3, 224, 224]`, fp32 or bf16.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        self.head.forward(&self.base.features(images), 0.0)
    }

    /// The maps `[n, 1280, 7, 7]` of the last convolution, rectified, of normalised images
    /// `[n, 3, 224, 224]`, fp32 or bf16.
    pub fn feature_maps(&self, images: &Tensor) -> Tensor {
        self.base.feature_maps(images)
    }

    /// Logits `[n]` for the output of [`EfficientNet::feature_maps`].
    pub fn classify(&self, maps: &Tensor) -> Tensor {
        self.head.forward(&average(maps), 0.0)
    }

    /// The same network for inference, its convolutions in `kind`.
    #[must_use]
    pub fn for_inference(&self, kind: Kind) -> Self {
        Self { base: self.base.for_inference(kind), head: self.head.frozen() }
    }

    /// The weights of base and head by name. They share the network's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut tensors = self.head.tensors();
        tensors.append(&mut self.base.tensors());
        tensors
    }
}
