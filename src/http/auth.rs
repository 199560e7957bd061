//! The bearer token, checked before any handler of the API runs.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use axum_extra::headers::{Authorization, HeaderMapExt as _, authorization::Bearer};
use subtle::ConstantTimeEq as _;

use super::{cross_site::is_cross_site, problem::Problem, state::AppState};

/// Lets a request through when no token is set, or when it carries the one that is.
pub async fn require_token(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let Some(expected) = &state.config.api_token else {
        if is_cross_site(&request, &state.config.allowed_hosts, &state.config.cors_origins) {
            return Problem::new(
                StatusCode::FORBIDDEN,
                "cross_site",
                "cross-site requests are refused while no API token is set: set PAWPRINT_API_TOKEN, or name this server's host in PAWPRINT_ALLOWED_HOSTS",
            )
            .into_response();
        }
        return next.run(request).await;
    };
    let detail = match request.headers().typed_get::<Authorization<Bearer>>() {
        // In constant time: the time of a refusal must not reveal how much of a guess was right.
        Some(presented) if bool::from(presented.token().as_bytes().ct_eq(expected.as_bytes())) => {
            return next.run(request).await;
        }
        Some(_) => "invalid API token",
        None => "API token required: send `Authorization: Bearer <token>`",
    };
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response()
}
