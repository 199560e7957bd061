//! Request bodies that are read whole, within a limit, and the JSON in them.

use std::error::Error;

use axum::{
    body::Bytes,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt as _;
use mime::Mime;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    body_buffer::BodyBuffer, content_encoding::DecodingError, pace::BodyTimeout, problem::Problem,
    state::App,
};
use crate::domain::excerpt::shorten_quote;

/// Maximum characters of the path of an error in a body; that of a known member has fewer.
const MAX_PATH: usize = 60;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The `Content-Type` of a request, with or without spaces around its semicolons; `None` if there
/// is none, and an error if it can't be parsed.
///
/// # Errors
/// 415: it is not a media type.
pub fn media_type(headers: &HeaderMap) -> Result<Option<Mime>, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let text = text.split(';').map(str::trim).collect::<Vec<_>>().join(";");
    text.trim_end_matches(';').parse().map(Some).map_err(|_| {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_type",
            "invalid Content-Type; use a media type such as image/jpeg or application/json",
        )
    })
}

/// The whole body of `request`.
///
/// # Errors
/// 413 over `limit` bytes, 400 if it ends early or does not match its `Content-Encoding`, 408 if it
/// arrives too slowly.
pub async fn read(request: Request, limit: u64, state: &App) -> Result<Bytes, Problem> {
    let mut body = request.into_body().into_data_stream();
    let mut buffer = BodyBuffer::new(state);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| incomplete_body(&error))?;
        if buffer.len() + chunk.len() as u64 > limit {
            return Err(too_large(limit));
        }
        buffer = buffer.push(chunk, state).await?;
    }
    buffer.finish().await
}

/// 400: the body is incomplete or does not match its `Content-Encoding`; 408: it arrives too
/// slowly; 413: it becomes too large when decompressed; 503: the server is shutting down.
#[must_use]
pub fn incomplete_body(error: &(dyn Error + 'static)) -> Problem {
    match BodyTimeout::find_in(error) {
        Some(late @ BodyTimeout::TooSlow) => {
            return Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", late.to_string());
        }
        Some(late @ BodyTimeout::ShuttingDown) => {
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", late.to_string());
        }
        None => {}
    }
    if let Some(inflated @ DecodingError::Inflated) = DecodingError::find_in(error) {
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", inflated.to_string());
    }
    let detail = DecodingError::find_in(error)
        .map_or_else(|| format!("the request body is incomplete: {error}"), ToString::to_string);
    Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
}

/// 413: more bytes than `limit`.
#[must_use]
pub fn too_large(limit: u64) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!("larger than the limit of {limit} bytes"),
    )
}

/// Parses the JSON in `text`; a byte-order mark before it is skipped.
///
/// # Errors
/// 400 if it is not JSON in UTF-8, 422 if it does not match the type.
pub fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Problem> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let malformed = |detail| Problem::new(StatusCode::BAD_REQUEST, "malformed", detail);
    // JSON begins with two ASCII characters, unless it has only one.
    if text.starts_with(b"\xFE\xFF")
        || text.starts_with(b"\xFF\xFE")
        || text.iter().take(2).any(|&byte| byte == 0)
    {
        return Err(malformed("the body is in UTF-16 or UTF-32; send JSON in UTF-8".to_owned()));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        // It may end in the name of an unknown member.
        let path = path.char_indices().nth(MAX_PATH).map_or(&*path, |(end, _)| {
            path[..end].rsplit_once('.').map_or(".", |(known, _)| known)
        });
        let error = error.into_inner();
        let reason = shorten_quote(&error.to_string());
        // Of another type than an enumeration's, serde_json says that it is not JSON.
        if !error.is_data() && serde_json::from_slice::<IgnoredAny>(text).is_err() {
            return malformed(format!("the body is not valid JSON: {reason}"));
        }
        // The path says where; a position in the text is for text that is not JSON.
        let reason = reason.rsplit_once(" at line ").map_or(&*reason, |(reason, _)| reason);
        let detail = if path == "." { reason.to_owned() } else { format!("{path}: {reason}") };
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
    })?;
    deserializer
        .end()
        .map_err(|error| malformed(format!("the body is not valid JSON: {error}")))?;
    // serde takes the members of an object in their order, too.
    if text.trim_ascii_start().starts_with(b"[") {
        let detail = "the body must be a JSON object, not an array";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use serde_json::Value;

    use super::*;

    fn status(text: &[u8]) -> u16 {
        json::<Value>(text).map_or_else(|it| it.into_response().status().as_u16(), |_| 200)
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Colour {
        Red,
    }

    #[derive(Debug, Deserialize)]
    struct Painted {
        colour: Colour,
    }

    #[test]
    fn json_of_another_type_is_not_called_malformed() {
        let status = |text: &[u8]| {
            json::<Painted>(text).map_or_else(
                |problem| problem.into_response().status().as_u16(),
                |Painted { colour: Colour::Red }| 200,
            )
        };
        assert_eq!(status(br#"{"colour": "red"}"#), 200);
        for other in [
            r#"{"colour": 1}"#,
            r#"{"colour": null}"#,
            r#"{"colour": "blue"}"#,
            r#"["red"]"#,
            r#" [ "red"]"#,
            "[]",
            "7",
        ] {
            assert_eq!(status(other.as_bytes()), 422, "{other}");
        }
        for broken in [r#"{"colour": "#, r#"{"colour": 1"#, r#"["red""#, ""] {
            assert_eq!(status(broken.as_bytes()), 400, "{broken}");
        }
    }

    #[test]
    fn json_may_begin_with_a_byte_order_mark_and_must_be_utf_8() {
        assert_eq!(status(b"\xEF\xBB\xBF{\"a\": 1}"), 200);
        assert_eq!(status(b"7"), 200);
        for text in [&b""[..], b"\xEF\xBB\xBF", b"\xEF\xBB\xBF\xEF\xBB\xBF{}", b"{} {}", b"{"] {
            assert_eq!(status(text), 400, "{text:?}");
        }
        let little: Vec<u8> = "\u{FEFF}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for text in [little, big] {
            let Err(problem) = json::<Value>(&text) else { unreachable!("that is UTF-16") };
            assert!(format!("{problem:?}").contains("UTF-8"), "{problem:?}");
        }
    }

    #[test]
    fn an_error_says_where_and_repeats_little() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {
            _number: u32,
        }
        #[derive(Debug, Deserialize)]
        struct Outer {
            _items: Vec<Inner>,
        }
        let long = "x".repeat(100_000);
        for (text, place) in [
            (
                format!(r#"{{"_items": [{{"_number": 1}}, {{"_number": "{long}"}}]}}"#),
                "_items[1]._number: ",
            ),
            (format!(r#"{{"_items": [{{"{long}": 1}}]}}"#), "_items[0]"),
        ] {
            let problem = json::<Outer>(text.as_bytes()).unwrap_err();
            let said = format!("{problem:?}");
            assert!(said.contains(place) && said.len() < 700, "{said}");
        }
    }
}
