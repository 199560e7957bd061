//! `/aliases`: names that are moved from one model to another.

use axum::{Extension, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    detached::run_to_completion,
    extract::{Json, Path},
    problem::Problem,
    state::AppState,
};
use crate::{access::Caller, domain::Name, storage::aliases::Alias};

/// All aliases.
#[derive(Debug, Serialize, ToSchema)]
pub struct Aliases {
    /// The aliases, by name.
    items: Vec<Alias>,
}

/// Model of an alias.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasTarget {
    /// Name or id of the model; of another alias, the model that it points to now; `current` for the
    /// model in service now.
    model: String,
}

/// List aliases
#[utoipa::path(get, path = "", responses((status = 200, description = "All aliases, by name.", body = Aliases)))]
pub async fn list(State(app): State<AppState>) -> Result<Json<Aliases>, Problem> {
    Ok(Json(Aliases { items: app.registry.aliases().await? }))
}

/// Set an alias to a model
///
/// An alias can be used wherever a model's name can; each request gets the model that it points to at
/// that time. The model is loaded first.
#[utoipa::path(put, path = "", request_body = AliasTarget, responses(
    (status = 200, description = "The alias.", body = Alias),
    (status = 404, description = "Unknown model."),
    (status = 409, description = "`name_taken`: a model or a job has that name."),
    (status = 422, description = "`invalid_value`: no valid name. `model_unusable`: the model file can't be loaded."),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn set(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(alias): Path<String>,
    Json(AliasTarget { model }): Json<AliasTarget>,
) -> Result<Json<Alias>, Problem> {
    let alias: Name = alias.parse().map_err(|error: crate::domain::name::InvalidName| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", error.to_string())
    })?;
    let registry = app.registry.clone();
    let set = async move { registry.set_alias(&alias, &model, caller.into()).await };
    Ok(Json(run_to_completion(set).await?))
}

/// Remove an alias; its model is kept
#[utoipa::path(delete, path = "", responses((status = 204, description = "Removed.")))]
pub async fn delete(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(alias): Path<String>,
) -> Result<StatusCode, Problem> {
    let alias = known(&alias)?;
    let registry = app.registry.clone();
    run_to_completion(async move { registry.remove_alias(&alias, caller.into()).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take back the last change of an alias
///
/// Sets it to the model before, or removes it if there was none. A second rollback takes back the first.
#[utoipa::path(post, path = "", operation_id = "roll_back", responses(
    (status = 200, description = "All aliases, by name.", body = Aliases),
    (status = 409, description = "`no_previous`: the model before has been deleted. `name_taken`: a model or a job has that name now."),
    (status = 422, description = "`model_unusable`: the model file can't be loaded."),
))]
pub async fn roll_back(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(alias): Path<String>,
) -> Result<Json<Aliases>, Problem> {
    let alias = known(&alias)?;
    let registry = app.registry.clone();
    run_to_completion(async move { registry.roll_back_alias(&alias, caller.into()).await }).await?;
    list(State(app)).await
}

/// 404 if it can't be the name of an alias.
fn known(alias: &str) -> Result<Name, Problem> {
    alias.parse().map_err(|_| Problem::not_found("alias", alias))
}
