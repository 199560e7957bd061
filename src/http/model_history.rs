//! `/models/history` and `/models/rollback`: which model was in service when, and back to the one before.

use axum::{Extension, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    detached::run_to_completion,
    extract::{Json, Paging, Query},
    models::current,
    problem::Problem,
    state::AppState,
};
use crate::{
    access::Caller,
    domain::model_history::Entry,
    registry::Current,
    storage::{Page, model_history},
};

/// `?alias=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Only changes of this alias.
    alias: Option<String>,
}

/// List changes of the model in service and of the aliases, newest first
#[utoipa::path(get, path = "", params(HistoryQuery, Paging), responses((status = 200, description = "One page of changes.", body = Page<Entry>)))]
pub async fn history(
    State(app): State<AppState>,
    Query(query): Query<HistoryQuery>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Entry>>, Problem> {
    let (limit, before) = (paging.limit()?, paging.cursor()?);
    let mut connection = app.storage.read().await?;
    let page = model_history::page(&mut connection, query.alias.as_deref(), before, limit);
    Ok(Json(page.await?))
}

/// Take back the last change of the model in service
///
/// Puts the model back in service that was before, pinned if it was pinned. A model that automatic
/// selection had put in service is not selected again by itself; a second rollback takes back the first.
/// Requests in progress finish on the model they began with.
#[utoipa::path(post, path = "", operation_id = "roll_back", responses(
    (status = 200, description = "The model now in service.", body = Current),
    (status = 409, description = "`no_previous`: there was no other model in service, or it has been deleted."),
    (status = 422, description = "`model_unusable`: the model file can't be loaded."),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn roll_back(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Current>, Problem> {
    let registry = app.registry.clone();
    run_to_completion(async move { registry.roll_back(caller.into()).await }).await?;
    current(State(app)).await
}
