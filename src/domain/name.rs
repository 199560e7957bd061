//! Names of datasets, jobs and models.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};
use uuid::Uuid;

/// Maximum characters of a name.
pub const MAX_LENGTH: usize = 100;

/// The API's names for the best model and the one in service. (The built-in model needs none: it
/// has a name like the others.)
const RESERVED: [&str; 2] = ["best", "current"];

/// What stands below `/models` in the API: a new model or alias of that name could not be reached by it.
const ROUTES: [&str; 3] = ["history", "rollback", "shadow"];

/// 1 to 100 ASCII letters, digits, `-`, `_` or `.`, beginning with a letter or a digit, and not in
/// the format of an id: it needs no escaping in a URL or a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a string is not a [`Name`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidName {
    /// Empty, too long, or with an invalid character.
    #[error(
        "invalid name `{0}`; use 1 to {MAX_LENGTH} letters, digits, `-`, `_` or `.`, beginning with a letter or a digit"
    )]
    Form(String),
    /// A name with a special meaning in the API.
    #[error("`{0}` is a reserved name; choose another")]
    Reserved(String),
    /// It looks like an id, and would be read as one.
    #[error("`{0}` looks like an id; choose another name")]
    LooksLikeId(String),
}

impl Name {
    /// Whether a path of the API has another meaning with this name. Models of older versions may have
    /// it.
    #[must_use]
    pub fn is_route(&self) -> bool {
        ROUTES.contains(&self.0.as_str())
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let well_formed = text.len() <= MAX_LENGTH
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed);
        if !well_formed {
            return Err(InvalidName::Form(text.chars().take(MAX_LENGTH).collect()));
        }
        if RESERVED.contains(&text) {
            return Err(InvalidName::Reserved(text.to_owned()));
        }
        if Uuid::try_parse(text).is_ok() {
            return Err(InvalidName::LooksLikeId(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl PartialSchema for Name {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("URL-safe name; not `best`, `current` or an id."))
            .min_length(Some(1))
            .max_length(Some(MAX_LENGTH))
            .pattern(Some("^[A-Za-z0-9][A-Za-z0-9._-]*$"))
            .into()
    }
}

impl ToSchema for Name {}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_give_are_taken() {
        for text in ["dogs-vs-cats", "cat", "run_7", "v1.2", "7", &"a".repeat(100)] {
            assert!(text.parse::<Name>().is_ok(), "{text}");
        }
    }

    #[test]
    fn what_would_break_a_url_a_path_or_a_lookup_is_refused() {
        for text in ["", ".", "..", "-x", "a/b", "a b", "ä", "a\n", &"a".repeat(101)] {
            assert!(matches!(text.parse::<Name>(), Err(InvalidName::Form(_))), "{text:?}");
        }
        assert!(matches!("best".parse::<Name>(), Err(InvalidName::Reserved(_))));
        let id = crate::domain::JobId::new().to_string();
        assert!(matches!(id.parse::<Name>(), Err(InvalidName::LooksLikeId(_))));
    }
}
