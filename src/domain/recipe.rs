//! Recipes, and the words for how they train.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::excerpt::Excerpt;

/// Training recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// A small convolutional network trained from scratch.
    ScratchCnn,
    /// The same network with data augmentation.
    AugmentedCnn,
    /// Logistic regression on features of the built-in EfficientNet-Lite0.
    EfficientnetLite0Features,
    /// A new head on features of a pretrained VGG16.
    Vgg16Features,
    /// The same, then fine-tunes the last VGG16 block.
    Vgg16Finetune,
}

impl Recipe {
    /// Every recipe, simplest first.
    pub const ALL: [Self; 5] = [
        Self::ScratchCnn,
        Self::AugmentedCnn,
        Self::EfficientnetLite0Features,
        Self::Vgg16Features,
        Self::Vgg16Finetune,
    ];

    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScratchCnn => "scratch_cnn",
            Self::AugmentedCnn => "augmented_cnn",
            Self::EfficientnetLite0Features => "efficientnet_lite0_features",
            Self::Vgg16Features => "vgg16_features",
            Self::Vgg16Finetune => "vgg16_finetune",
        }
    }

    /// One sentence for a person who has to choose.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::ScratchCnn => "A small CNN trained from scratch on your images.",
            Self::AugmentedCnn => {
                "The same CNN with random flips, rotations and zooms plus dropout, to reduce overfitting."
            }
            Self::EfficientnetLite0Features => {
                "Logistic regression on features of EfficientNet-Lite0, a network pretrained on ImageNet that is built in. Accurate from twenty images per class, and trained in seconds."
            }
            Self::Vgg16Features => {
                "A new classifier head on features from a frozen, pretrained VGG16. Features are computed once per image."
            }
            Self::Vgg16Finetune => {
                "Trains a head like vgg16_features, then fine-tunes the last VGG16 block with a low learning rate on augmented images."
            }
        }
    }

    /// Whether it starts from pretrained VGG16 weights.
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

/// A string that names no recipe.
#[derive(Debug, thiserror::Error)]
#[error("unknown recipe `{}`; see GET /recipes", Excerpt(.0))]
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

/// Learning rate schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same learning rate in each epoch, as in the notebook.
    #[default]
    Constant,
    /// Cosine decay from the initial learning rate to almost zero in the last epoch (Loshchilov and
    /// Hutter, 2017, without restarts).
    Cosine,
}

impl Schedule {
    /// The learning rate of `epoch`, starting at 1, of `epochs`, if the first has `rate`.
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

/// Requested precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 if the device supports it natively, otherwise fp32.
    Auto,
    /// 32-bit floating point throughout.
    Fp32,
    /// bf16 in the convolutions, over fp32 weights.
    Bf16,
}

/// Effective precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point throughout.
    Fp32,
    /// bf16 in the convolutions, over fp32 weights.
    Bf16,
}

impl Precision {
    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        }
    }
}

/// Requested device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// CUDA if available, otherwise the CPU.
    Auto,
    /// CPU.
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
