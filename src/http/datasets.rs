//! `/datasets`: made, listed, looked at, dropped.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;

use super::{
    extract::{Json, Paging, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    datasets::statistics::Statistics,
    domain::{
        Name,
        dataset::{Classes, Dataset},
    },
    storage::Page,
};

/// Body of `POST /datasets`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDataset {
    name: Name,
    #[serde(default)]
    classes: Classes,
}

/// `POST /datasets`
///
/// # Errors
/// 409 where the name is taken.
pub async fn create(
    State(app): State<AppState>,
    Json(new): Json<NewDataset>,
) -> Result<impl IntoResponse, Problem> {
    let dataset = app.datasets.create(&new.name, &new.classes).await?;
    let location = [(header::LOCATION, format!("/datasets/{}", dataset.id))];
    Ok((StatusCode::CREATED, location, Json(dataset)))
}

/// `GET /datasets`
///
/// # Errors
/// 422 for paging that makes no sense.
pub async fn list(
    State(app): State<AppState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Dataset>>, Problem> {
    Ok(Json(app.datasets.list(paging.cursor()?, paging.limit()?).await?))
}

/// `GET /datasets/{dataset}`
///
/// # Errors
/// 404.
pub async fn show(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<Dataset>, Problem> {
    Ok(Json(app.datasets.get(&dataset).await?))
}

/// `DELETE /datasets/{dataset}`
///
/// # Errors
/// 404; 409 while a job that isn't finished uses it.
pub async fn delete(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<StatusCode, Problem> {
    app.datasets.delete(&dataset).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /datasets/{dataset}/statistics`
///
/// # Errors
/// 404.
pub async fn statistics(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<Statistics>, Problem> {
    Ok(Json(app.datasets.statistics(&dataset).await?))
}
