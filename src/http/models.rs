//! `/models`: the models, and the one in service.

use std::io;

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::fs::File;
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::{
    binary::Binary,
    detached::run_to_completion,
    extract::{Json, Paging, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::model::Model,
    registry::Current,
    storage::{Page, models},
};

/// List models, newest first
#[utoipa::path(get, path = "", params(Paging), responses((status = 200, description = "One page of models.", body = Page<Model>)))]
pub async fn list(
    State(state): State<AppState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Model>>, Problem> {
    let (limit, before) = (paging.limit()?, paging.cursor()?);
    let in_service = state.registry.in_service();
    let mut connection = state.storage.read().await?;
    Ok(Json(models::list(&mut connection, None, before, limit, in_service).await?))
}

/// Get a model
#[utoipa::path(get, path = "", responses((status = 200, description = "The model.", body = Model)))]
pub async fn show(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<Json<Model>, Problem> {
    Ok(Json(state.registry.find(&model).await?))
}

/// Download a model as safetensors, with the model card in its metadata
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The file.", body = Binary, content_type = "application/octet-stream"),
    (status = 500, description = "`model_damaged`: the file is missing or damaged. `internal`"),
))]
pub async fn download(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<Response, Problem> {
    let model = state.registry.find(&model).await?;
    let file = whole(&state.data_dir.model(model.id), model.bytes).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, model.bytes.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}.safetensors\"", model.name),
        ),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

/// The file of a model that has so many bytes.
async fn whole(path: &std::path::Path, bytes: u64) -> Result<File, Problem> {
    let opened = async {
        let file = File::open(path).await?;
        Ok::<_, io::Error>((file.metadata().await?.len() == bytes).then_some(file))
    };
    match opened.await {
        Ok(Some(file)) => Ok(file),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Problem::internal(&error)),
        _ => {
            tracing::error!(path = %path.display(), bytes, "a model file is missing or damaged");
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "model_damaged",
                "the model file is missing or damaged; restore it from a backup, or train the model again",
            ))
        }
    }
}

/// Get the model in service
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The model, its selection mode and when it went into service.", body = Current),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn current(State(state): State<AppState>) -> Result<Json<Current>, Problem> {
    Ok(Json(state.registry.current().await?))
}

/// Request body of `PUT /models/current`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ModelChoice)]
#[serde(deny_unknown_fields)]
pub struct ModelSelection {
    /// Model name or id to pin, or `best` for automatic selection.
    model: String,
}

/// Select the model in service
///
/// Pins a model, or returns to the best one, which each new model replaces unless it is less accurate
/// or can't be told from guessing. Requests in progress finish on the previous model.
#[utoipa::path(put, path = "", operation_id = "choose", request_body = ModelSelection, responses(
    (status = 200, description = "The model now in service.", body = Current),
    (status = 404, description = "Unknown model."),
    (status = 422, description = "`invalid_value`; `model_unusable`: the model file can't be loaded."),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn set_current(
    State(state): State<AppState>,
    Json(choice): Json<ModelSelection>,
) -> Result<Json<Current>, Problem> {
    let registry = state.registry.clone();
    run_to_completion(async move {
        if choice.model == "best" {
            return registry.follow_best().await;
        }
        registry.pin(&choice.model).await.map(drop)
    })
    .await?;
    current(State(state)).await
}

/// Delete a model
#[utoipa::path(delete, path = "", responses(
    (status = 204, description = "Deleted."),
    (status = 409, description = "`in_service`: the model is in service; `embedded_model`: the built-in model can't be deleted."),
))]
pub async fn delete(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<StatusCode, Problem> {
    state.registry.delete(&model).await?;
    Ok(StatusCode::NO_CONTENT)
}
