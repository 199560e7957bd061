//! `/datasets/{dataset}/classes`: add, rename, merge and delete the classes of a dataset.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Json, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::domain::{ClassName, dataset::Dataset};

/// Request body of `POST /datasets/{dataset}/classes`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClass {
    name: ClassName,
}

/// Add a class without images
///
/// Classes of an open dataset are sorted by name; in a closed one the new class is the last.
#[utoipa::path(post, path = "", operation_id = "add_class", request_body = NewClass, responses(
    (status = 201, description = "The dataset.", body = Dataset),
    (status = 409, description = "`class_exists`"),
    (status = 422, description = "`invalid_value`: an invalid name, or more than 1000 classes."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn add(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Json(new): Json<NewClass>,
) -> Result<(StatusCode, Json<Dataset>), Problem> {
    Ok((StatusCode::CREATED, Json(app.datasets.add_class(&dataset, new.name).await?)))
}

/// Request body of `PATCH /datasets/{dataset}/classes/{class}`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassChange {
    /// New name.
    name: ClassName,
    /// If another class has that name: move the images there and remove this class.
    #[serde(default)]
    merge: bool,
}

/// Rename a class, or merge it into another
///
/// Existing jobs and models keep their classes.
#[utoipa::path(patch, path = "", operation_id = "rename_class", request_body = ClassChange, responses(
    (status = 200, description = "The dataset.", body = Dataset),
    (status = 409, description = "`class_exists`: another class has that name, and `merge` is false."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn rename(
    State(app): State<AppState>,
    Path((dataset, class)): Path<(String, String)>,
    Json(change): Json<ClassChange>,
) -> Result<Json<Dataset>, Problem> {
    Ok(Json(app.datasets.rename_class(&dataset, &class, change.name, change.merge).await?))
}

/// `?images=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ClassDeletion {
    /// `delete` also deletes the images of the class.
    #[param(inline, value_type = Option<ClassImages>)]
    images: Option<ClassImages>,
}

/// What happens to the images of a class that is deleted.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ClassImages {
    Delete,
}

/// Delete a class
///
/// Existing jobs and models keep their classes.
#[utoipa::path(delete, path = "", operation_id = "delete_class", params(ClassDeletion), responses(
    (status = 200, description = "The dataset.", body = Dataset),
    (status = 409, description = "`class_not_empty`: the class has images, and `images=delete` is not given."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn delete(
    State(app): State<AppState>,
    Path((dataset, class)): Path<(String, String)>,
    Query(query): Query<ClassDeletion>,
) -> Result<Json<Dataset>, Problem> {
    let delete_images = matches!(query.images, Some(ClassImages::Delete));
    Ok(Json(app.datasets.delete_class(&dataset, &class, delete_images).await?))
}
