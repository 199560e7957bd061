//! Names of classes: any language, as folders are named.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::excerpt::Excerpt;

/// Maximum characters of a class name.
pub const MAX_LENGTH: usize = 100;

/// 1 to 100 characters without `/`, `\` and control characters, not `.` or `..`; in Unicode's
/// composed form (NFC), without spaces at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClassName(String);

/// A string that can't be the name of a class.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "invalid class name `{}`; use 1 to {MAX_LENGTH} visible characters, but no `/`, `\\`, control or text direction characters, and not `.` or `..`",
    Excerpt(.0)
)]
pub struct InvalidClassName(pub String);

impl ClassName {
    /// Whether `text` names this class: ignoring case, spaces at the ends and how characters are
    /// composed.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0 == text || folded(&self.0) == folded(text)
    }

    /// What all spellings of the name have in common; two classes differ in it.
    #[must_use]
    pub fn folded(&self) -> String {
        folded(&self.0)
    }
}

/// What all spellings of a class name have in common: lower case, composed, without outer spaces.
#[must_use]
pub fn folded(text: &str) -> String {
    let text = text.trim();
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Lower case may be decomposed, as that of `İ` is.
    text.nfc().collect::<String>().to_lowercase().nfc().collect()
}

impl FromStr for ClassName {
    type Err = InvalidClassName;

    fn from_str(text: &str) -> Result<Self, InvalidClassName> {
        let invalid = || InvalidClassName(text.chars().take(MAX_LENGTH).collect());
        // No name of that many bytes has so few characters.
        if text.len() > MAX_LENGTH * 16 {
            return Err(invalid());
        }
        let name: String = text.trim().nfc().collect();
        let well_formed = !matches!(&*name, "" | "." | "..")
            && name.chars().count() <= MAX_LENGTH
            && !name.contains(|c: char| matches!(c, '/' | '\\') || c.is_control() || misleads(c))
            && name.chars().any(|c| !is_invisible(c));
        if well_formed { Ok(Self(name)) } else { Err(invalid()) }
    }
}

/// Whether a character changes how the text around it is displayed: overrides and isolates of the
/// direction, separators of lines and paragraphs.
const fn misleads(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a name of such characters alone would look empty: joiners, marks of direction and others
/// without width.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

impl TryFrom<String> for ClassName {
    type Error = InvalidClassName;

    fn try_from(text: String) -> Result<Self, InvalidClassName> {
        text.parse()
    }
}

impl From<ClassName> for String {
    fn from(name: ClassName) -> Self {
        name.0
    }
}

impl PartialSchema for ClassName {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("Class name: no `/`, `\\` or control characters."))
            .min_length(Some(1))
            .max_length(Some(MAX_LENGTH))
            .into()
    }
}

impl ToSchema for ClassName {}

impl Deref for ClassName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ClassName {
        text.parse().unwrap()
    }

    #[test]
    fn folders_of_any_language_name_a_class() {
        for text in
            ["cat", "Great Dane", "best", "Löwenzahn", "玫瑰", "Роза", "n02085620-Chihuahua"]
        {
            assert_eq!(&*name(text), text);
        }
        assert_eq!(&*name(" rose "), "rose");
        assert!("ä".repeat(MAX_LENGTH).parse::<ClassName>().is_ok());
    }

    #[test]
    fn what_is_no_name_of_a_folder_is_refused() {
        let long = "a".repeat(MAX_LENGTH + 1);
        let hidden = ["\u{200b}", "\u{feff}\u{200d}", "a\u{202e}b", "a\u{2028}b"];
        for text in
            ["", " ", ".", "..", "a/b", "a\\b", "a\nb", "\u{0}", &long].into_iter().chain(hidden)
        {
            assert!(text.parse::<ClassName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn spellings_of_one_name_are_one_class() {
        // macOS names folders in decomposed form.
        assert_eq!(name("Lo\u{308}we"), name("Löwe"));
        for (class, text) in [("Löwe", "LÖWE"), ("löwe", "LO\u{308}WE "), ("cat", "Cat")] {
            assert!(name(class).is(text), "{class} {text}");
        }
        assert!(!name("cat").is("cats"));
    }
}
