//! The bearer token and its scopes, checked before any handler of the API runs.

use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use axum_extra::headers::{Authorization, HeaderMapExt as _, authorization::Bearer};

use super::{audit::Entry, cross_site::is_cross_site, problem::Problem, state::AppState};
use crate::{access::Caller, domain::access::Scope};

/// Lets a request through if its caller may send it, and notes in the audit log what it changes.
pub async fn require_token(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match authenticate(&state, &request) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    // No endpoint: whoever has a token may learn that.
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        return next.run(request).await;
    };
    let scope = required_scope(path.as_str(), request.method());
    let entry = changes_something(path.as_str(), scope, request.method())
        .then(|| Entry::begin(&state, &caller, &request))
        .flatten();
    let response = if caller.may(scope) {
        // For handlers that save who did it.
        request.extensions_mut().insert(caller);
        next.run(request).await
    } else {
        forbidden(scope).into_response()
    };
    if let Some(entry) = entry {
        entry.end(&response).await;
    }
    response
}

fn authenticate(state: &AppState, request: &Request) -> Result<Caller, Problem> {
    if !state.access.requires_token() {
        if is_cross_site(request, &state.config.allowed_hosts, &state.config.cors_origins) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "cross_site",
                "cross-site requests are refused while no API token is set: set PAWPRINT_API_TOKEN, or name this server's host in PAWPRINT_ALLOWED_HOSTS",
            ));
        }
        return Ok(Caller::Anonymous);
    }
    let detail = match request.headers().typed_get::<Authorization<Bearer>>() {
        Some(presented) => match state.access.authenticate(presented.token()) {
            Some(caller) => return Ok(caller),
            None => "invalid API token",
        },
        None => "API token required: send `Authorization: Bearer <token>`",
    };
    Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail))
}

/// The scope that a token needs for `method` on the route `path`, as it stands in
/// [`super::router`]. `None`: only a token of the settings allows it. That is so for every route whose
/// first part is not named here.
#[must_use]
pub fn required_scope(path: &str, method: &Method) -> Option<Scope> {
    match path.split('/').nth(1)? {
        "predict" | "explain" | "v2" => Some(Scope::Predict),
        "system" | "recipes" | "metrics" => Some(Scope::Read),
        // Whoever sent an image may say what it shows: only they know the prediction's id.
        "predictions" if is_feedback(path) => Some(Scope::Predict),
        // A body is read here, and nothing changes.
        "datasets" if path.ends_with("/layout") => Some(Scope::Read),
        "datasets" | "images" | "jobs" | "models" | "aliases" | "predictions" | "weights" => {
            Some(if method.is_safe() { Scope::Read } else { Scope::Write })
        }
        _ => None,
    }
}

/// Whether such a request is for the audit log.
fn changes_something(path: &str, scope: Option<Scope>, method: &Method) -> bool {
    let may_change = matches!(scope, Some(Scope::Write) | None) || is_feedback(path);
    may_change && !method.is_safe()
}

fn is_feedback(path: &str) -> bool {
    path.starts_with("/predictions/") && path.ends_with("/feedback")
}

fn forbidden(scope: Option<Scope>) -> Problem {
    let detail = match scope {
        Some(scope) => format!("this API token lacks the scope `{}`", scope.as_str()),
        None => "only an API token of the server's settings allows this".to_owned(),
    };
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}
