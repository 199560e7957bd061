//! Recipes and their parameters: what may be trained, the defaults, and the ranges.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One way to train a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// A small convolutional network from random weights.
    ScratchCnn,
}

impl Recipe {
    /// Every recipe, simplest first.
    pub const ALL: [Self; 1] = [Self::ScratchCnn];

    /// The word of the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScratchCnn => "scratch_cnn",
        }
    }

    /// One sentence for a person who has to choose.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::ScratchCnn => {
                "A small convolutional network, trained from random weights on your photos alone."
            }
        }
    }

    /// The parameters a job gets where it names none.
    #[must_use]
    pub const fn defaults(self) -> Params {
        match self {
            Self::ScratchCnn => Params {
                epochs: 30,
                batch_size: 32,
                learning_rate: 1e-3,
                seed: 0,
                early_stopping_patience: None,
                precision: PrecisionChoice::Auto,
                device: DeviceChoice::Auto,
            },
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no recipe.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no recipe; GET /recipes lists them")]
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

/// The precision that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 where the processor multiplies it natively, else fp32.
    Auto,
    /// 32-bit floating point throughout.
    Fp32,
    /// bf16 in the convolutions, over fp32 weights.
    Bf16,
}

/// The precision that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// The parameters of a job, resolved: nothing left to guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// Passes over the training split: 1 to 10,000.
    pub epochs: u32,
    /// Images per optimizer step: 1 to 1,024.
    pub batch_size: u32,
    /// Step size of RMSprop: above 0, at most 10,000.
    pub learning_rate: f64,
    /// Where every random draw of the job comes from.
    pub seed: u64,
    /// Stop after so many epochs without a lower validation loss; never where it is absent.
    pub early_stopping_patience: Option<u32>,
    /// The precision asked for.
    pub precision: PrecisionChoice,
    /// The device asked for.
    pub device: DeviceChoice,
}

/// What a request says of the parameters; the rest are the recipe's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is that of `Params`")]
pub struct ParamOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping_patience: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<PrecisionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceChoice>,
}

/// A parameter outside its range.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("params.{field} must be {expected}, not {actual}")]
pub struct InvalidParam {
    /// Name of the parameter.
    pub field: &'static str,
    /// The range, in words.
    pub expected: &'static str,
    /// What came instead.
    pub actual: String,
}

/// Seeds stay exact in JSON readers that hold every number as a double.
const MAX_SEED: u64 = (1 << 53) - 1;

impl ParamOverrides {
    /// The overrides over the recipe's defaults.
    ///
    /// # Errors
    /// The first parameter outside its range.
    pub fn resolve(&self, recipe: Recipe) -> Result<Params, InvalidParam> {
        let defaults = recipe.defaults();
        let params = Params {
            epochs: self.epochs.unwrap_or(defaults.epochs),
            batch_size: self.batch_size.unwrap_or(defaults.batch_size),
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            seed: self.seed.unwrap_or(defaults.seed),
            early_stopping_patience: self
                .early_stopping_patience
                .or(defaults.early_stopping_patience),
            precision: self.precision.unwrap_or(defaults.precision),
            device: self.device.unwrap_or(defaults.device),
        };
        let checks = [
            (
                "epochs",
                "1 to 10000",
                (1..=10_000).contains(&params.epochs),
                params.epochs.to_string(),
            ),
            (
                "batch_size",
                "1 to 1024",
                (1..=1_024).contains(&params.batch_size),
                params.batch_size.to_string(),
            ),
            (
                "learning_rate",
                "above 0 and at most 10000",
                params.learning_rate > 0.0 && params.learning_rate <= 10_000.0,
                params.learning_rate.to_string(),
            ),
            ("seed", "0 to 9007199254740991", params.seed <= MAX_SEED, params.seed.to_string()),
            (
                "early_stopping_patience",
                "1 to 10000",
                params
                    .early_stopping_patience
                    .is_none_or(|patience| (1..=10_000).contains(&patience)),
                params.early_stopping_patience.unwrap_or_default().to_string(),
            ),
        ];
        for (field, expected, holds, actual) in checks {
            if !holds {
                return Err(InvalidParam { field, expected, actual });
            }
        }
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_recipes_default() {
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
}
