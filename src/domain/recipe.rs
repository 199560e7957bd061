//! Recipes, and the words for how they train.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::{
    base::{self, BASES, Base, Weights},
    excerpt::Excerpt,
};

/// Training recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Recipe {
    /// A small convolutional network trained from scratch.
    ScratchCnn,
    /// The same network with data augmentation.
    AugmentedCnn,
    /// A new head on features of a base network.
    Features(&'static Base),
    /// The same, then fine-tunes the last stages of the base network.
    FineTuning(&'static Base),
}

impl Recipe {
    /// Every recipe, the recommended one first: those of the first base network, the networks that are
    /// trained from scratch, then those of the other base networks.
    pub const ALL: [Self; 2 + 2 * BASES.len()] = {
        let mut all = [Self::Features(BASES[0]); 2 + 2 * BASES.len()];
        all[1] = Self::FineTuning(BASES[0]);
        all[2] = Self::ScratchCnn;
        all[3] = Self::AugmentedCnn;
        let mut base = 1;
        while base < BASES.len() {
            all[2 + 2 * base] = Self::Features(BASES[base]);
            all[3 + 2 * base] = Self::FineTuning(BASES[base]);
            base += 1;
        }
        all
    };

    /// Memory to request for a trainer of this recipe with that batch size, in bytes: half as much again
    /// as trainers took.
    #[must_use]
    pub fn trainer_memory(self, batch_size: u32) -> u64 {
        let (fixed, image) = match self {
            // Measured as those of the base networks.
            Self::ScratchCnn | Self::AugmentedCnn => (230.0, 17.0),
            Self::Features(base) => (base.memory.features, 0.0),
            Self::FineTuning(base) => (base.memory.fine_tuning, base.memory.image),
        };
        (1.5e6 * (fixed + image * f64::from(batch_size))) as u64
    }

    /// The recipe for whoever doesn't choose one.
    pub const DEFAULT: Self = Self::Features(&base::EFFICIENTNET_LITE0);

    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScratchCnn => "scratch_cnn",
            Self::AugmentedCnn => "augmented_cnn",
            Self::Features(base) => base.names.features,
            Self::FineTuning(base) => base.names.finetune,
        }
    }

    /// One or two sentences for a person who has to choose.
    #[must_use]
    pub fn summary(self) -> String {
        match self {
            Self::ScratchCnn => "A small CNN trained from scratch on your images.".to_owned(),
            Self::AugmentedCnn => {
                "The same CNN with random flips, rotations and zooms plus dropout, to reduce overfitting.".to_owned()
            }
            Self::Features(base) => {
                let Base { title, head, weights, .. } = base;
                let head = match head.hidden {
                    None => "Logistic regression",
                    Some(_) => "A new classifier head",
                };
                match weights {
                    Weights::Shipped(_) => format!(
                        "{head} on features of {title}, a built-in network pretrained on ImageNet. Accurate from twenty images per class, and trained in seconds."
                    ),
                    Weights::Published => format!(
                        "{head} on features of {title}, a network pretrained on ImageNet, whose weights are downloaded or uploaded."
                    ),
                }
            }
            Self::FineTuning(base) => format!(
                "Trains a head like {}, then fine-tunes the last layers of {} with a low learning rate on augmented images. Slower, and more accurate if the photos are unlike those of ImageNet.",
                base.names.features, base.title
            ),
        }
    }

    /// When to take it: a sentence for a person who does not know how networks are trained.
    #[must_use]
    pub const fn use_when(self) -> &'static str {
        match self {
            Self::ScratchCnn => {
                "To see how a small network learns from your images alone: needs hundreds to thousands of images per class, and is less accurate all the same."
            }
            Self::AugmentedCnn => {
                "To see what is gained if a small network learns from images that are turned and zoomed at random: needs hundreds to thousands of images per class."
            }
            Self::Features(Base { weights: Weights::Shipped(_), .. }) => {
                "Best start: seconds to minutes even on a laptop, and good from about 20 images per class."
            }
            Self::FineTuning(Base { weights: Weights::Shipped(_), .. }) => {
                "Next step if the result is not good enough: takes much longer, and can be more accurate with a few hundred images per class."
            }
            Self::Features(Base { weights: Weights::Published, .. }) => {
                "To compare with an older and much larger network: slower, and its weights must be downloaded or imported first."
            }
            Self::FineTuning(Base { weights: Weights::Published, .. }) => {
                "To compare with an older and much larger network that adapts to your images: the slowest choice, and its weights must be downloaded or imported first."
            }
        }
    }

    /// The base network that it builds on, if any.
    #[must_use]
    pub const fn base(self) -> Option<&'static Base> {
        match self {
            Self::ScratchCnn | Self::AugmentedCnn => None,
            Self::Features(base) | Self::FineTuning(base) => Some(base),
        }
    }

    /// Whether its epochs are compared by their validation loss after temperature scaling, as the model
    /// will answer: fine-tuned networks become more accurate and too sure at the same time. Those of the
    /// notebook are compared as there; regression is scaled in itself.
    #[must_use]
    pub const fn scales_validation(self) -> bool {
        match self {
            Self::FineTuning(base) => base.head.hidden.is_none(),
            Self::ScratchCnn | Self::AugmentedCnn | Self::Features(_) => false,
        }
    }

    /// Whether an optimizer trains it step by step. The others solve each epoch as a whole.
    #[must_use]
    pub const fn takes_steps(self) -> bool {
        match self {
            Self::Features(base) => base.head.hidden.is_some(),
            Self::ScratchCnn | Self::AugmentedCnn | Self::FineTuning(_) => true,
        }
    }
}

impl From<Recipe> for &'static str {
    fn from(recipe: Recipe) -> Self {
        recipe.as_str()
    }
}

impl TryFrom<String> for Recipe {
    type Error = UnknownRecipe;

    fn try_from(text: String) -> Result<Self, UnknownRecipe> {
        text.parse()
    }
}

impl PartialSchema for Recipe {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("Training recipe."))
            .enum_values(Some(Self::ALL.map(Self::as_str)))
            .into()
    }
}

impl ToSchema for Recipe {}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A string that names no recipe.
#[derive(Debug, thiserror::Error)]
#[error("unknown recipe `{}`; use {}", Excerpt(.0), Recipe::ALL.map(Recipe::as_str).join(", "))]
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
