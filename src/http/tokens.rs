//! `/tokens`: create, list and revoke API tokens.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    detached::run_to_completion,
    extract::{Json, Path},
    problem::Problem,
    state::AppState,
};
use crate::domain::{
    Name,
    access::{ApiToken, Scope},
};

/// Request body of `POST /tokens`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    name: Name,
    /// What the token may be used for; none includes another.
    scopes: Vec<Scope>,
}

/// A token that was just created.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedToken {
    #[serde(flatten)]
    token: ApiToken,
    /// What clients send as `Authorization: Bearer …`. It is not stored, and not shown again.
    secret: String,
}

/// The tokens that were created.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tokens {
    items: Vec<ApiToken>,
}

/// Create an API token with scopes
#[utoipa::path(post, path = "", request_body = NewToken, responses(
    (status = 201, description = "The token, with its secret.", body = CreatedToken, headers(("Location" = String, description = "URL of the token."))),
    (status = 409, description = "`name_taken`: another token has that name. `no_token_required`: the server requires no API token."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn create(
    State(app): State<AppState>,
    Json(new): Json<NewToken>,
) -> Result<impl IntoResponse, Problem> {
    let access = app.access.clone();
    let created = run_to_completion(async move { access.create(new.name, new.scopes).await });
    let (token, secret) = created.await?;
    let headers = [
        (header::LOCATION, format!("/tokens/{}", token.id)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, Json(CreatedToken { token, secret })))
}

/// List the API tokens that were created, oldest first
///
/// Tokens of the server's settings are not listed.
#[utoipa::path(get, path = "", responses((status = 200, description = "The tokens, without their secrets.", body = Tokens)))]
pub async fn list(State(app): State<AppState>) -> Json<Tokens> {
    Json(Tokens { items: app.access.list() })
}

/// Revoke an API token
#[utoipa::path(delete, path = "", responses(
    (status = 204, description = "Revoked: requests with the token are refused from now on. Responses in progress, such as a job's events, end by themselves."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn revoke(
    State(app): State<AppState>,
    Path(token): Path<String>,
) -> Result<StatusCode, Problem> {
    let access = app.access.clone();
    run_to_completion(async move { access.revoke(&token).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
