//! The text fields of a form, which may replace query parameters.
//!
//! This also decides which parts of a form are files, for every route that takes forms.

use axum::http::StatusCode;

use super::{parts::Part, problem::Problem};
use crate::{domain::excerpt::Excerpt, vision};

/// Maximum bytes of a field's value.
const MAX_VALUE: usize = 1_000;

/// Bytes of a part that decide whether it is text.
const HEAD: usize = 1_024;

/// The fields of a form so far.
#[derive(Debug)]
pub struct Fields {
    known: &'static [&'static str],
    values: Vec<(&'static str, String)>,
}

impl Fields {
    /// No fields yet; `known` are the names that the route accepts.
    #[must_use]
    pub const fn new(known: &'static [&'static str]) -> Self {
        Self { known, values: Vec::new() }
    }

    /// Keeps a part that is a field and returns one that is a file. An empty file input gives
    /// nothing.
    ///
    /// # Errors
    /// 422 for an unknown field, one that is too long, or two that differ; and as [`Part::chunk`].
    pub async fn take_field<'a>(
        &mut self,
        mut part: Part<'a>,
    ) -> Result<Option<Part<'a>>, Problem> {
        match part.file_name() {
            Some("") => return Ok((!part.head(1).await?.is_empty()).then_some(part)),
            Some(_) => return Ok(Some(part)),
            None => {}
        }
        let name = self.known.iter().find(|name| part.field_name() == Some(**name));
        if let Some(name) = name {
            self.store(name, part).await?;
            return Ok(None);
        }
        // Some clients send a file without a file name.
        if part.is_declared_binary() || !is_text(part.head(HEAD).await?) {
            return Ok(Some(part));
        }
        let name = part.field_name().unwrap_or_default();
        Err(invalid(
            name,
            format!(
                "unknown form field `{}`; use {}; each file needs a `filename`",
                Excerpt(name),
                listed(self.known)
            ),
        ))
    }

    async fn store(&mut self, name: &'static str, mut part: Part<'_>) -> Result<(), Problem> {
        let value = part.head(MAX_VALUE + 1).await?;
        if value.len() > MAX_VALUE {
            return Err(invalid(
                name,
                format!("the form field `{name}` is longer than {MAX_VALUE} bytes"),
            ));
        }
        let value = std::str::from_utf8(value)
            .map_err(|_| invalid(name, format!("the form field `{name}` is not valid UTF-8")))?
            .trim();
        // A form that is not filled in sends its fields empty.
        if value.is_empty() {
            return Ok(());
        }
        match self.get(name) {
            Some(earlier) if earlier != value => {
                return Err(contradiction(name, "in an earlier field", earlier, value));
            }
            Some(_) => {}
            None => self.values.push((name, value.to_owned())),
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// The value of the form, or otherwise of the query.
    ///
    /// # Errors
    /// 422 if both are given and differ.
    pub fn resolve(
        &self,
        name: &'static str,
        query: Option<&str>,
    ) -> Result<Option<String>, Problem> {
        match (query, self.get(name)) {
            (Some(query), Some(form)) if query != form => {
                Err(contradiction(name, "in the query", query, form))
            }
            (query, form) => Ok(form.or(query).map(str::to_owned)),
        }
    }
}

fn contradiction(name: &str, place: &str, first: &str, second: &str) -> Problem {
    let (first, second) = (Excerpt(first), Excerpt(second));
    invalid(
        name,
        format!("`{name}` is `{first}` {place} and `{second}` in the form; provide it once"),
    )
}

fn invalid(field: &str, detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
        .with("field", Excerpt(field).to_string())
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Whether a part that begins with `head` is text, not an image.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    vision::Format::sniff(head).is_err()
        && !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_distinguished_from_images() {
        for text in [&b""[..], b"cat", b"caf\xC3\xA9\r\n", b"half a caf\xC3"] {
            assert!(is_text(text), "{text:?}");
        }
        for image in
            [&b"\xFF\xD8\xFF\xE0"[..], b"\x89PNG\r\n\x1A\n", b"GIF89a", b"a\0b", b"caf\xE9."]
        {
            assert!(!is_text(image), "{image:?}");
        }
    }

    #[test]
    fn the_form_and_the_query_must_not_contradict_each_other() {
        let mut fields = Fields::new(&["model"]);
        assert_eq!(fields.resolve("model", Some("a")).unwrap().unwrap(), "a");
        fields.values.push(("model", "b".to_owned()));
        assert_eq!(fields.resolve("model", None).unwrap().unwrap(), "b");
        assert_eq!(fields.resolve("model", Some("b")).unwrap().unwrap(), "b");
        let problem = format!("{:?}", fields.resolve("model", Some("a")).unwrap_err());
        assert!(problem.contains("`a` in the query and `b` in the form"), "{problem}");
    }
}
