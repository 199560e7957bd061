//! Recipes and their parameters: defaults and ranges.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobId, excerpt::Excerpt};

/// Training recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// A small convolutional network trained from scratch.
    ScratchCnn,
    /// The same network with data augmentation.
    AugmentedCnn,
    /// A new head on features of a pretrained VGG16.
    Vgg16Features,
    /// The same, then fine-tunes the last VGG16 block.
    Vgg16Finetune,
}

impl Recipe {
    /// Every recipe, simplest first.
    pub const ALL: [Self; 4] =
        [Self::ScratchCnn, Self::AugmentedCnn, Self::Vgg16Features, Self::Vgg16Finetune];

    /// The name in the API and the database.
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
            Self::ScratchCnn => "A small CNN trained from scratch on your images.",
            Self::AugmentedCnn => {
                "The same CNN with random flips, rotations and zooms plus dropout, to reduce overfitting."
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

    /// The default parameters of a job.
    #[must_use]
    pub const fn defaults(self) -> Params {
        let common = Params {
            epochs: 30,
            batch_size: 32,
            learning_rate: 1e-3,
            learning_rate_schedule: Schedule::Constant,
            seed: 0,
            early_stopping_patience: None,
            precision: PrecisionChoice::Auto,
            device: DeviceChoice::Auto,
            head_epochs: None,
            head_from: None,
        };
        match self {
            Self::ScratchCnn => common,
            Self::AugmentedCnn => Params { epochs: 50, ..common },
            Self::Vgg16Features => Params { epochs: 20, ..common },
            Self::Vgg16Finetune => Params { learning_rate: 1e-5, head_epochs: Some(20), ..common },
        }
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LearningRateSchedule)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// CUDA if available, otherwise the CPU.
    Auto,
    /// CPU.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// Training parameters of a job, defaults included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Params {
    /// Number of epochs: 1 to 10,000.
    pub epochs: u32,
    /// Batch size: 1 to 1,024.
    pub batch_size: u32,
    /// Learning rate of RMSprop: above 0, at most 10,000.
    pub learning_rate: f64,
    /// Learning rate schedule.
    #[serde(default)]
    pub learning_rate_schedule: Schedule,
    /// Random seed.
    pub seed: u64,
    /// Early stopping patience in epochs; null disables early stopping.
    pub early_stopping_patience: Option<u32>,
    /// Requested precision.
    pub precision: PrecisionChoice,
    /// Requested device.
    pub device: DeviceChoice,
    /// vgg16_finetune: epochs for training the head before fine-tuning, with the learning rate of
    /// `vgg16_features` and without early stopping, 1 to 10,000. Omitted if `head_from` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_epochs: Option<u32>,
    /// vgg16_finetune: `vgg16_features` job that provides the initial head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_from: Option<JobId>,
}

/// Training parameters; omitted ones use the recipe's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is that of `Params`")]
pub struct ParamOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub epochs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_024)]
    pub batch_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(exclusive_minimum = 0, maximum = 10_000)]
    pub learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate_schedule: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_i64)]
    pub seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub early_stopping_patience: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<PrecisionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub head_epochs: Option<u32>,
    /// Name or id of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_from: Option<String>,
}

/// An invalid parameter.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("params.{field} {reason}")]
pub struct InvalidParam {
    /// Name of the parameter.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// Seeds stay exact in JSON readers that hold every number as a double.
const MAX_SEED: u64 = (1 << 53) - 1;

impl ParamOverrides {
    /// The overrides on top of the recipe's defaults. `head_from` is resolved by the scheduler.
    ///
    /// # Errors
    /// The first parameter that is out of range or that the recipe does not have.
    pub fn resolve(&self, recipe: Recipe) -> Result<Params, InvalidParam> {
        self.check(recipe)?;
        let defaults = recipe.defaults();
        Ok(Params {
            epochs: self.epochs.unwrap_or(defaults.epochs),
            batch_size: self.batch_size.unwrap_or(defaults.batch_size),
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            learning_rate_schedule: self
                .learning_rate_schedule
                .unwrap_or(defaults.learning_rate_schedule),
            seed: self.seed.unwrap_or(defaults.seed),
            early_stopping_patience: self.early_stopping_patience,
            precision: self.precision.unwrap_or(defaults.precision),
            device: self.device.unwrap_or(defaults.device),
            head_epochs: match self.head_from {
                Some(_) => None,
                None => self.head_epochs.or(defaults.head_epochs),
            },
            head_from: None,
        })
    }

    fn check(&self, recipe: Recipe) -> Result<(), InvalidParam> {
        for (field, epochs) in [
            ("epochs", self.epochs),
            ("early_stopping_patience", self.early_stopping_patience),
            ("head_epochs", self.head_epochs),
        ] {
            check(field, epochs, "1 to 10000", |epochs| (1..=10_000).contains(epochs))?;
        }
        check("batch_size", self.batch_size, "1 to 1024", |size| (1..=1_024).contains(size))?;
        check("learning_rate", self.learning_rate, "above 0 and at most 10000", |rate| {
            *rate > 0.0 && *rate <= 10_000.0
        })?;
        check("seed", self.seed, "0 to 9007199254740991", |seed| *seed <= MAX_SEED)?;
        for (field, given) in
            [("head_epochs", self.head_epochs.is_some()), ("head_from", self.head_from.is_some())]
        {
            if given && recipe != Recipe::Vgg16Finetune {
                return Err(invalid(field, "is only valid for vgg16_finetune"));
            }
        }
        if self.head_epochs.is_some() && self.head_from.is_some() {
            return Err(invalid("head_epochs", "and params.head_from are mutually exclusive"));
        }
        Ok(())
    }
}

fn invalid(field: &'static str, reason: impl Into<String>) -> InvalidParam {
    InvalidParam { field, reason: reason.into() }
}

/// Checks a parameter, if it is given.
fn check<T: fmt::Display>(
    field: &'static str,
    value: Option<T>,
    expected: &'static str,
    holds: impl Fn(&T) -> bool,
) -> Result<(), InvalidParam> {
    match value {
        Some(value) if !holds(&value) => {
            Err(invalid(field, format!("must be {expected}, not {value}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn omitted_parameters_are_the_recipes_defaults() {
        let overrides = ParamOverrides { epochs: Some(2), ..ParamOverrides::default() };
        let params = overrides.resolve(Recipe::ScratchCnn).unwrap();
        assert_eq!(params, Params { epochs: 2, ..Recipe::ScratchCnn.defaults() });
    }

    #[test]
    fn a_value_out_of_range_names_its_field() {
        let field = |overrides: ParamOverrides| {
            overrides.resolve(Recipe::ScratchCnn).err().map(|invalid| invalid.field)
        };
        let none = ParamOverrides::default;
        assert_eq!(field(ParamOverrides { epochs: Some(0), ..none() }), Some("epochs"));
        assert_eq!(field(ParamOverrides { batch_size: Some(1025), ..none() }), Some("batch_size"));
        for rate in [0.0, -1.0, 10_001.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                field(ParamOverrides { learning_rate: Some(rate), ..none() }),
                Some("learning_rate")
            );
        }
        assert_eq!(field(ParamOverrides { seed: Some(u64::MAX), ..none() }), Some("seed"));
        assert_eq!(
            field(ParamOverrides { early_stopping_patience: Some(0), ..none() }),
            Some("early_stopping_patience")
        );
        assert_eq!(field(none()), None);
    }

    #[test]
    fn a_cosine_starts_at_the_learning_rate_and_comes_down_to_nearly_none() {
        let rates = [1, 2, 3, 4].map(|epoch| Schedule::Cosine.rate(0.1, epoch, 4));
        for (rate, expected) in rates.into_iter().zip([0.1, 0.085_355_339, 0.05, 0.014_644_661]) {
            assert!((rate - expected).abs() < 1e-9, "{rate} is not {expected}");
        }
        assert_eq!([1, 4].map(|epoch| Schedule::Constant.rate(0.1, epoch, 4)), [0.1, 0.1]);
    }

    #[test]
    fn what_belongs_to_fine_tuning_is_refused_elsewhere_and_a_head_comes_from_one_place() {
        let field = |overrides: &ParamOverrides, recipe| {
            overrides.resolve(recipe).err().map(|invalid| invalid.field)
        };
        let epochs = ParamOverrides { head_epochs: Some(3), ..ParamOverrides::default() };
        let from = ParamOverrides { head_from: Some("x".into()), ..ParamOverrides::default() };
        assert_eq!(field(&epochs, Recipe::Vgg16Features), Some("head_epochs"));
        assert_eq!(field(&from, Recipe::ScratchCnn), Some("head_from"));
        assert_eq!(epochs.resolve(Recipe::Vgg16Finetune).unwrap().head_epochs, Some(3));
        assert_eq!(from.resolve(Recipe::Vgg16Finetune).unwrap().head_epochs, None);
        let both = ParamOverrides { head_epochs: Some(3), ..from };
        assert_eq!(field(&both, Recipe::Vgg16Finetune), Some("head_epochs"));
    }
}
