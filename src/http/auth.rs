//! The bearer token, checked before any handler of the API runs.

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use subtle::ConstantTimeEq as _;

use super::{problem::Problem, state::AppState};

/// Lets a request through when no token is set, or when it carries the one that is.
pub async fn require_token(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Some(expected) = &state.config.api_token else {
        return next.run(request).await;
    };
    let presented = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
        .map(|(_, token)| token);
    let detail = match presented {
        // In constant time: how long a refusal takes must not tell how much of a guess was right.
        Some(token) if bool::from(token.ct_eq(expected.as_bytes())) => {
            return next.run(request).await;
        }
        Some(_) => "that is not this server's token",
        None => "this server asks for a token: send `Authorization: Bearer <token>`",
    };
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response()
}
