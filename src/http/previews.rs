//! `/datasets/{dataset}/layout`: what an upload would do, before it is sent.

use axum::extract::{Request, State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    extract::{Json, Path},
    problem::Problem,
    state::AppState,
    uploads::Labels,
};
use crate::{
    datasets::{AssignmentRule, preview::Preview},
    domain::dataset::Split,
};

/// Maximum bytes of a body: the paths of a few hundred thousand files.
const MAX_BODY: u64 = 32 << 20;

/// Request body of `POST /datasets/{dataset}/layout`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadPaths {
    /// The paths of all files of an upload, such as `flowers/train/rose/1.jpg`.
    paths: Vec<String>,
    /// Target split, as in an upload.
    split: Option<Split>,
    /// As in an upload.
    #[schema(inline, value_type = Option<Labels>)]
    labels: Option<String>,
}

/// Preview an upload by the paths of its files
///
/// Reports the classes and splits that the files would be in, and those that would be rejected for
/// their path. Nothing is stored.
#[utoipa::path(post, path = "", operation_id = "preview", request_body = UploadPaths, responses(
    (status = 200, description = "The preview.", body = Preview),
))]
pub async fn preview(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    request: Request,
) -> Result<Json<Preview>, Problem> {
    let Json(UploadPaths { paths, split, labels }) = Json::read(request, MAX_BODY, &app).await?;
    let labels = Labels::parse(labels.as_deref())?;
    let rule = AssignmentRule { split, label: None, labels };
    Ok(Json(app.datasets.preview(&dataset, paths, rule).await?))
}
