//! Requested parameters: validated, and completed with defaults.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    parameter::{Kind, Parameter},
    table::{PARAMETERS, Params},
};
use crate::domain::{excerpt::Excerpt, recipe::Recipe};

/// An invalid parameter.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum InvalidParam {
    /// Its value has the wrong type or is out of range.
    #[error("params.{field} must be {expected}, not {actual}")]
    Value {
        /// Name of the parameter.
        field: &'static str,
        /// Valid values, in words.
        expected: String,
        /// The value.
        actual: String,
    },
    /// The recipe does not have it.
    #[error("params.{field} is only valid for {recipes}")]
    Recipe {
        /// Name of the parameter.
        field: &'static str,
        /// The recipes that have it.
        recipes: String,
    },
    /// It is set together with one that replaces it.
    #[error("params.{field} and params.{other} are mutually exclusive")]
    Exclusive {
        /// Name of the parameter.
        field: &'static str,
        /// Name of the other one.
        other: &'static str,
    },
    /// There is no parameter of that name.
    #[error("unknown parameter params.{}; use {}", Excerpt(.0), names())]
    Unknown(String),
}

impl InvalidParam {
    /// Name of the parameter, unless it is unknown.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Value { field, .. }
            | Self::Recipe { field, .. }
            | Self::Exclusive { field, .. } => Some(field),
            Self::Unknown(_) => None,
        }
    }
}

fn names() -> String {
    PARAMETERS.iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ")
}

/// Training parameters of a request; omitted ones, and null, use the recipe's defaults.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ParamOverrides(Map<String, Value>);

impl ParamOverrides {
    /// Name or id of the job whose head to start from.
    #[must_use]
    pub fn head_from(&self) -> Option<&str> {
        self.0.get("head_from")?.as_str()
    }

    /// The overrides on top of the recipe's defaults. Jobs are resolved by the scheduler.
    ///
    /// # Errors
    /// The first parameter that is invalid or that the recipe does not have.
    pub fn resolve(&self, recipe: Recipe) -> Result<Params, InvalidParam> {
        let unknown = self.0.keys().find(|name| PARAMETERS.iter().all(|it| it.name != **name));
        if let Some(name) = unknown {
            return Err(InvalidParam::Unknown(name.clone()));
        }
        let given = |name: &str| self.0.get(name).filter(|value| !value.is_null());
        let mut resolved = Map::new();
        for parameter in PARAMETERS {
            let field = parameter.name;
            let excluded_by = parameter.excluded_by.filter(|other| given(other).is_some());
            let value = match (given(field), excluded_by) {
                (Some(_), _) if !(parameter.applies_to)(recipe) => {
                    let recipes = parameter.recipes();
                    return Err(InvalidParam::Recipe { field, recipes });
                }
                (Some(_), Some(other)) => return Err(InvalidParam::Exclusive { field, other }),
                (Some(value), None) => {
                    check(parameter, value)?;
                    if parameter.kind == Kind::Job { Value::Null } else { value.clone() }
                }
                (None, Some(_)) => Value::Null,
                (None, None) => parameter.default(recipe),
            };
            if !value.is_null() {
                resolved.insert(field.to_owned(), value);
            }
        }
        match serde_json::from_value(Value::Object(resolved)) {
            Ok(params) => Ok(params),
            Err(impossible) => unreachable!("values that were checked fit: {impossible}"),
        }
    }
}

impl Params {
    /// The defaults of `recipe`.
    #[must_use]
    pub fn defaults(recipe: Recipe) -> Self {
        match ParamOverrides::default().resolve(recipe) {
            Ok(params) => params,
            Err(impossible) => unreachable!("nothing is given: {impossible}"),
        }
    }
}

fn check(parameter: &Parameter, value: &Value) -> Result<(), InvalidParam> {
    let holds = match parameter.kind {
        Kind::Integer { minimum, maximum } => {
            value.as_u64().is_some_and(|value| (minimum..=maximum).contains(&value))
        }
        Kind::Number { exclusive_minimum, maximum } => {
            value.as_f64().is_some_and(|value| value > exclusive_minimum && value <= maximum)
        }
        Kind::Choice { choices } => value.as_str().is_some_and(|value| choices.contains(&value)),
        Kind::Job => value.is_string(),
    };
    if holds {
        return Ok(());
    }
    let actual = Excerpt(&value.to_string()).to_string();
    Err(InvalidParam::Value { field: parameter.name, expected: parameter.kind.to_string(), actual })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::base::VGG16;

    fn resolve(recipe: Recipe, params: Value) -> Result<Params, InvalidParam> {
        serde_json::from_value::<ParamOverrides>(params).unwrap().resolve(recipe)
    }

    fn refused(recipe: Recipe, params: Value) -> Option<&'static str> {
        resolve(recipe, params).unwrap_err().field()
    }

    #[test]
    fn what_is_not_given_is_the_recipes_default() {
        for given in [json!({ "epochs": 2 }), json!({ "epochs": 2, "seed": null, "device": null })]
        {
            let expected = Params { epochs: 2, ..Params::defaults(Recipe::ScratchCnn) };
            assert_eq!(resolve(Recipe::ScratchCnn, given), Ok(expected));
        }
        let defaults = Recipe::ALL.map(|recipe| {
            let Params { epochs, learning_rate, head_epochs, .. } = Params::defaults(recipe);
            (epochs, learning_rate, head_epochs)
        });
        let expected = [
            (11, 0.0, None),
            (8, 1e-4, Some(11)),
            (30, 1e-3, None),
            (50, 1e-3, None),
            (20, 1e-3, None),
            (30, 1e-5, Some(20)),
        ];
        assert_eq!(defaults, expected);
    }

    #[test]
    fn every_default_is_a_value_that_may_be_given() {
        for recipe in Recipe::ALL {
            for parameter in PARAMETERS {
                let default = parameter.default(recipe);
                assert!(
                    default.is_null() || check(parameter, &default).is_ok(),
                    "{}",
                    parameter.name
                );
            }
        }
    }

    #[test]
    fn every_word_of_a_choice_is_understood() {
        for parameter in PARAMETERS {
            let Kind::Choice { choices } = parameter.kind else { continue };
            for word in choices {
                let params = json!({ parameter.name: word });
                let params = resolve(Recipe::ScratchCnn, params).unwrap();
                assert_eq!(serde_json::to_value(params).unwrap()[parameter.name], *word);
            }
        }
    }

    #[test]
    fn a_value_out_of_range_or_of_another_kind_names_its_field() {
        for (name, values) in [
            ("epochs", [json!(0), json!(10_001), json!("many"), json!(2.5)]),
            ("batch_size", [json!(0), json!(1_025), json!(true), json!(-1)]),
            ("learning_rate", [json!(0), json!(-1.0), json!(10_001), json!("1")]),
            ("learning_rate_schedule", [json!("linear"), json!(""), json!("Cosine"), json!(1)]),
            ("seed", [json!(u64::MAX), json!(-1), json!(1_u64 << 53), json!([])]),
            ("early_stopping_patience", [json!(0), json!(10_001), json!({}), json!("")]),
            ("device", [json!("gpu"), json!(0), json!("cuda:1"), json!("CPU")]),
        ] {
            for value in values {
                let params = json!({ name: value });
                assert_eq!(refused(Recipe::ScratchCnn, params), Some(name), "{name} {value}");
            }
        }
        let error = resolve(Recipe::ScratchCnn, json!({ "batch_size": 5_000 })).unwrap_err();
        let expected = "params.batch_size must be an integer from 1 to 1024, not 5000";
        assert_eq!(error.to_string(), expected);
        let error = resolve(Recipe::ScratchCnn, json!({ "x".repeat(9_999): 1 })).unwrap_err();
        assert!(error.field().is_none() && error.to_string().len() < 500, "{error}");
    }

    #[test]
    fn what_belongs_to_fine_tuning_is_refused_elsewhere_and_a_head_comes_from_one_place() {
        let (epochs, from) = (json!({ "head_epochs": 3 }), json!({ "head_from": "x" }));
        assert_eq!(refused(Recipe::Features(&VGG16), epochs.clone()), Some("head_epochs"));
        assert_eq!(refused(Recipe::ScratchCnn, from.clone()), Some("head_from"));
        assert_eq!(resolve(Recipe::FineTuning(&VGG16), epochs).unwrap().head_epochs, Some(3));
        assert_eq!(resolve(Recipe::FineTuning(&VGG16), from).unwrap().head_epochs, None);
        let both = json!({ "head_epochs": 3, "head_from": "x" });
        assert_eq!(refused(Recipe::FineTuning(&VGG16), both), Some("head_epochs"));
    }
}
