//! Names that people give: to datasets, jobs, models and classes.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};
use uuid::Uuid;

/// At most this many characters in a name.
pub const MAX_LENGTH: usize = 100;

/// The API's words for the best model and the one in service. (That in the binary needs none: it
/// has its name as the others have.)
const RESERVED: [&str; 2] = ["best", "current"];

/// 1 to 100 ASCII letters, digits, `-`, `_` or `.`, beginning with a letter or a digit, and not
/// in the form of an id: it can stand in a URL and in a file name as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is no [`Name`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidName {
    /// Empty, too long, or with a character that names can't have.
    #[error(
        "`{0}` is not a name: use 1 to {MAX_LENGTH} letters, digits, `-`, `_` or `.`, beginning with a letter or a digit"
    )]
    Form(String),
    /// A word that the API gives a meaning of its own.
    #[error("`{0}` means something of its own here; choose another name")]
    Reserved(String),
    /// It reads as an id, and would be taken for one.
    #[error("`{0}` has the form of an id; choose another name")]
    LooksLikeId(String),
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
            .description(Some(
                "A name that can stand in a URL as it is; not `best`, `current` or an id.",
            ))
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
