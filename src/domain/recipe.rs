//! Recipes: what may be trained, and the words for how.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::excerpt::Excerpt;

/// One way to train a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// A small convolutional network from random weights.
    ScratchCnn,
    /// The same network, its photos flipped, turned and zoomed anew in each epoch.
    AugmentedCnn,
    /// A new head over the features of a VGG16 that others trained.
    Vgg16Features,
    /// The same, and then the last block of the VGG16 trained as well.
    Vgg16Finetune,
}

impl Recipe {
    /// Every recipe, simplest first.
    pub const ALL: [Self; 4] =
        [Self::ScratchCnn, Self::AugmentedCnn, Self::Vgg16Features, Self::Vgg16Finetune];

    /// The word of the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScratchCnn => "scratch_cnn",
            Self::AugmentedCnn => "augmented_cnn",
            Self::Vgg16Features => "vgg16_features",
            Self::Vgg16Finetune => "vgg16_finetune",
        }
    }

    /// One sentence for a person who has to choose.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::ScratchCnn => {
                "A small convolutional network, trained from random weights on your photos alone."
            }
            Self::AugmentedCnn => {
                "The same network, which sees each photo flipped, turned and zoomed anew in each epoch, and so learns less by heart."
            }
            Self::Vgg16Features => {
                "VGG16 as others trained it sees each photo once; only a small classifier over what it saw is trained."
            }
            Self::Vgg16Finetune => {
                "First as vgg16_features, then the last block of VGG16 is trained as well, in small steps, on augmented photos."
            }
        }
    }

    /// Whether it begins with the weights of a VGG16 that others trained.
    #[must_use]
    pub const fn needs_vgg16(self) -> bool {
        matches!(self, Self::Vgg16Features | Self::Vgg16Finetune)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no recipe.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not a recipe; GET /recipes lists them", Excerpt(.0))]
pub struct UnknownRecipe(pub String);

impl FromStr for Recipe {
    type Err = UnknownRecipe;

    fn from_str(text: &str) -> Result<Self, UnknownRecipe> {
        Self::ALL
            .into_iter()
            .find(|recipe| recipe.as_str() == text)
            .ok_or_else(|| UnknownRecipe(text.to_owned()))
    }
}

/// How the learning rate goes from epoch to epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same in each epoch, as in the notebook.
    #[default]
    Constant,
    /// Down half a cosine from the learning rate in the first epoch to nearly zero in the last
    /// (Loshchilov and Hutter, 2017, without restarts).
    Cosine,
}

impl Schedule {
    /// The learning rate of `epoch`, from 1, of `epochs`, where the first has `rate`.
    #[must_use]
    pub fn rate(self, rate: f64, epoch: u32, epochs: u32) -> f64 {
        match self {
            Self::Constant => rate,
            Self::Cosine => {
                let done = f64::from(epoch.saturating_sub(1)) / f64::from(epochs.max(1));
                rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

/// The precision that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 where the device multiplies it natively, else fp32.
    Auto,
    /// 32-bit floating point throughout.
    Fp32,
    /// bf16 in the convolutions, over fp32 weights.
    Bf16,
}

/// The precision that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point throughout.
    Fp32,
    /// bf16 in the convolutions, over fp32 weights.
    Bf16,
}

impl Precision {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        }
    }
}

/// The device that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// CUDA where there is one, else the CPU.
    Auto,
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_starts_at_the_learning_rate_and_comes_down_to_nearly_none() {
        let rates = [1, 2, 3, 4].map(|epoch| Schedule::Cosine.rate(0.1, epoch, 4));
        for (rate, expected) in rates.into_iter().zip([0.1, 0.085_355_339, 0.05, 0.014_644_661]) {
            assert!((rate - expected).abs() < 1e-9, "{rate} is not {expected}");
        }
        assert_eq!([1, 4].map(|epoch| Schedule::Constant.rate(0.1, epoch, 4)), [0.1, 0.1]);
    }
}
