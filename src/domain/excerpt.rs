//! Shortens what an error repeats of a request.
//!
//! Used wherever a message contains input: a name of 100 kB is as easily sent as one of ten
//! letters.

use std::fmt::{self, Write as _};

/// Maximum characters of a request that a message repeats.
pub const MAX_CHARS: usize = 200;

/// How serde's messages open and close what they quote from a request.
const QUOTES: [(&str, &str); 5] = [
    ("unknown field `", "`, "),
    ("unknown variant `", "`, "),
    ("string \"", "\", expected"),
    ("with value `", "`"),
    ("duplicate field `", "`"),
];

/// Displays the first [`MAX_CHARS`] characters of a string, and `…` if there are more. Control
/// characters, which a terminal would obey, are displayed as `�`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excerpt<'a>(pub &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(MAX_CHARS) {
            f.write_char(if character.is_control() { '\u{fffd}' } else { character })?;
        }
        if characters.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

/// A message of serde or of axum's extractors, with what it quotes from the request shortened.
#[must_use]
pub fn shorten_quote(message: &str) -> String {
    for (open, close) in QUOTES {
        let Some(start) = message.find(open).map(|at| at + open.len()) else { continue };
        // The last one: the quoted text may contain anything, even a quotation mark.
        let Some(length) = message[start..].rfind(close) else { continue };
        let end = start + length;
        return format!(
            "{}{}{}",
            &message[..start],
            Excerpt(&message[start..end]),
            &message[end..]
        );
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only errors are checked")]
    struct Known {
        number: Option<u32>,
        word: Option<Word>,
    }

    #[derive(Debug, Deserialize)]
    enum Word {
        Yes,
        No,
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(Excerpt("x\u{1b}[31mred\n").to_string(), "x\u{fffd}[31mred\u{fffd}");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_a_short_one_is_kept() {
        assert_eq!(Excerpt("cat").to_string(), "cat");
        let exact = "ä".repeat(MAX_CHARS);
        assert_eq!(Excerpt(&exact).to_string(), exact);
        assert_eq!(Excerpt(&"ä".repeat(1_000)).to_string(), format!("{exact}…"));
    }

    #[test]
    fn what_serde_quotes_is_shortened_and_what_it_expects_is_kept() {
        let long = "x`, y\\\", ".repeat(10_000);
        for (json, kept) in [
            (format!(r#"{{"{long}": 1}}"#), "expected `number` or `word`"),
            (format!(r#"{{"number": "{long}"}}"#), "expected u32"),
            (format!(r#"{{"word": "{long}"}}"#), "expected `Yes` or `No`"),
        ] {
            let message = serde_json::from_str::<Known>(&json).unwrap_err().to_string();
            let short = shorten_quote(&message);
            assert!(short.chars().count() < 2 * MAX_CHARS, "{short}");
            assert!(short.contains(kept), "{short}");
        }
        assert_eq!(shorten_quote("missing field `name`"), "missing field `name`");
    }
}
