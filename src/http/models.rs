//! `/models`: which there are, and which one answers.

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;

use super::{
    detached::to_its_end,
    extract::{Json, Paging, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::model::Model,
    registry::Mode,
    storage::{Page, models},
};

/// `GET /models`
pub async fn list(
    State(state): State<AppState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Model>>, Problem> {
    let (limit, before) = (paging.limit()?, paging.cursor()?);
    let in_service = state.registry.in_service();
    let mut connection = state.storage.read().await?;
    Ok(Json(models::list(&mut connection, None, before, limit, in_service).await?))
}

/// `GET /models/{model}`
pub async fn show(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<Json<Model>, Problem> {
    Ok(Json(state.registry.find(&model).await?))
}

/// `GET /models/{model}/download`
pub async fn download(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<Response, Problem> {
    let model = state.registry.find(&model).await?;
    let file = tokio::fs::File::open(state.data_dir.model(model.id))
        .await
        .map_err(|error| Problem::internal(&error))?;
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

/// The model in service.
#[derive(Debug, Serialize)]
pub struct Current {
    #[serde(flatten)]
    model: Model,
    mode: Mode,
}

/// `GET /models/current`
pub async fn current(State(state): State<AppState>) -> Result<Json<Current>, Problem> {
    let (model, mode) = state.registry.current().await?;
    Ok(Json(Current { model, mode }))
}

/// The model to put in service: a name, an id, or `best`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    model: String,
}

/// `PUT /models/current`
pub async fn choose(
    State(state): State<AppState>,
    Json(choice): Json<Choice>,
) -> Result<Json<Current>, Problem> {
    let registry = state.registry.clone();
    to_its_end(async move {
        if choice.model == "best" {
            return registry.follow_best().await;
        }
        registry.pin(&choice.model).await.map(drop)
    })
    .await?;
    current(State(state)).await
}

/// `DELETE /models/{model}`
pub async fn delete(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<StatusCode, Problem> {
    state.registry.delete(&model).await?;
    Ok(StatusCode::NO_CONTENT)
}
