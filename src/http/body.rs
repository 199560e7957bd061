//! Request bodies that are read whole, within a limit, and the JSON in them.

use axum::{
    body::{Bytes, to_bytes},
    extract::Request,
    http::StatusCode,
};
use http_body_util::LengthLimitError;
use serde::Deserialize;

use super::problem::Problem;

/// The whole body of `request`.
///
/// # Errors
/// 413 over `limit` bytes, 400 where it ends early.
pub async fn read(request: Request, limit: u64) -> Result<Bytes, Problem> {
    to_bytes(request.into_body(), usize::try_from(limit).unwrap_or(usize::MAX)).await.map_err(
        |error| {
            let over = std::error::Error::source(&error)
                .is_some_and(|source| source.is::<LengthLimitError>());
            if over {
                return too_large(limit);
            }
            broke_off(&error)
        },
    )
}

/// 400: the body ended before its end.
#[must_use]
pub fn broke_off(error: &axum::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", format!("the body broke off: {error}"))
}

/// 413: more bytes than `limit`.
#[must_use]
pub fn too_large(limit: u64) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!("that is more than the {limit} bytes that are allowed here"),
    )
}

/// The value that `text` is the JSON of.
///
/// # Errors
/// 400 where it is no JSON, 422 where it is that of something else.
pub fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(text).map_err(|error| {
        let (status, code) = if error.is_data() {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid_value")
        } else {
            (StatusCode::BAD_REQUEST, "malformed")
        };
        Problem::new(status, code, error.to_string())
    })
}
