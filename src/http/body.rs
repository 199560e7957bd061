//! Request bodies that are read whole, within a limit.

use axum::{
    body::{Bytes, to_bytes},
    extract::Request,
    http::StatusCode,
};
use http_body_util::LengthLimitError;

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
