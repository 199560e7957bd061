//! Properties of a parameter.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::recipe::Recipe;

/// Properties of a parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Name of its field.
    pub name: &'static str,
    /// Label for a form.
    pub title: &'static str,
    /// Description, without a full stop at the end.
    pub description: &'static str,
    /// Valid values.
    pub kind: Kind,
    /// Whether a recipe has it.
    pub applies_to: fn(Recipe) -> bool,
    /// Parameter that replaces this one if it is set.
    pub excluded_by: Option<&'static str>,
    default: fn(Recipe) -> Value,
}

/// Valid values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = ParameterKind)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// An integer.
    Integer {
        /// Lowest value.
        minimum: u64,
        /// Highest value.
        maximum: u64,
    },
    /// A number.
    Number {
        /// All values are above this one.
        exclusive_minimum: f64,
        /// Highest value.
        maximum: f64,
    },
    /// One of several words.
    Choice {
        /// Valid words.
        #[schema(value_type = Vec<String>)]
        choices: &'static [&'static str],
    },
    /// Name or id of a job.
    Job,
}

pub(super) const fn integer(
    title: &'static str,
    minimum: u64,
    maximum: u64,
    default: fn(Recipe) -> Value,
) -> Parameter {
    Parameter::new(title, Kind::Integer { minimum, maximum }, default)
}

pub(super) const fn number(
    title: &'static str,
    exclusive_minimum: f64,
    maximum: f64,
    default: fn(Recipe) -> Value,
) -> Parameter {
    Parameter::new(title, Kind::Number { exclusive_minimum, maximum }, default)
}

pub(super) const fn choice(
    title: &'static str,
    choices: &'static [&'static str],
    default: fn(Recipe) -> Value,
) -> Parameter {
    Parameter::new(title, Kind::Choice { choices }, default)
}

pub(super) const fn job(title: &'static str) -> Parameter {
    Parameter::new(title, Kind::Job, |_| Value::Null)
}

impl Parameter {
    const fn new(title: &'static str, kind: Kind, default: fn(Recipe) -> Value) -> Self {
        Self {
            name: "",
            title,
            description: "",
            kind,
            applies_to: |_| true,
            excluded_by: None,
            default,
        }
    }

    pub(super) const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub(super) const fn described(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    pub(super) const fn only(self, applies_to: fn(Recipe) -> bool) -> Self {
        Self { applies_to, ..self }
    }

    pub(super) const fn excluded_by(self, other: &'static str) -> Self {
        Self { excluded_by: Some(other), ..self }
    }

    /// The description, preceded by the recipes that have the parameter if not all do.
    #[must_use]
    pub fn help(&self) -> String {
        if Recipe::ALL.into_iter().all(self.applies_to) {
            return self.description.to_owned();
        }
        format!("{}: {}", self.recipes(), self.description)
    }

    /// The names of the recipes that have it.
    pub(super) fn recipes(&self) -> String {
        let recipes = Recipe::ALL.into_iter().filter(|&recipe| (self.applies_to)(recipe));
        recipes.map(Recipe::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The default of `recipe`; null if there is none.
    #[must_use]
    pub fn default(&self, recipe: Recipe) -> Value {
        if (self.applies_to)(recipe) { (self.default)(recipe) } else { Value::Null }
    }

    /// Whether all jobs have a value of it.
    pub(super) fn is_required(&self) -> bool {
        Recipe::ALL.into_iter().all(|recipe| !self.default(recipe).is_null())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { minimum, maximum } => {
                write!(f, "an integer from {minimum} to {maximum}")
            }
            Self::Number { exclusive_minimum, maximum } => {
                write!(f, "a number above {exclusive_minimum} and at most {maximum}")
            }
            Self::Choice { choices } => write!(f, "one of {}", choices.join(", ")),
            Self::Job => f.write_str("the name or id of a job"),
        }
    }
}
