//! What is known of a parameter.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::recipe::Recipe;

/// What is known of a parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// The name of its field.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it does; without a full stop at the end.
    pub description: &'static str,
    /// Which values it takes.
    pub kind: Kind,
    /// The recipes that take it.
    pub recipes: &'static [Recipe],
    /// The parameter that, where it is given, takes this one's place.
    pub excluded_by: Option<&'static str>,
    default: fn(Recipe) -> Value,
}

/// Which values a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = ParameterKind)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// An integer, bounds included.
    Integer {
        /// The lowest.
        minimum: u64,
        /// The highest.
        maximum: u64,
    },
    /// A number.
    Number {
        /// It is above this.
        exclusive_minimum: f64,
        /// The highest.
        maximum: f64,
    },
    /// One of a few words.
    Choice {
        /// The words.
        #[schema(value_type = Vec<String>)]
        choices: &'static [&'static str],
    },
    /// The name or id of a job.
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
            recipes: &Recipe::ALL,
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

    pub(super) const fn only(self, recipes: &'static [Recipe]) -> Self {
        Self { recipes, ..self }
    }

    pub(super) const fn excluded_by(self, other: &'static str) -> Self {
        Self { excluded_by: Some(other), ..self }
    }

    /// Its description, after the recipes that take it where not all do.
    #[must_use]
    pub fn help(&self) -> String {
        if self.recipes.len() == Recipe::ALL.len() {
            return self.description.to_owned();
        }
        format!("{}: {}", listed(self.recipes), self.description)
    }

    /// The value that a job of `recipe` has where it gives none; `null` for none.
    #[must_use]
    pub fn default(&self, recipe: Recipe) -> Value {
        if self.recipes.contains(&recipe) { (self.default)(recipe) } else { Value::Null }
    }

    /// Whether every job has a value of it.
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

/// The words of some recipes.
pub(super) fn listed(recipes: &[Recipe]) -> String {
    recipes.iter().map(|recipe| recipe.as_str()).collect::<Vec<_>>().join(", ")
}
