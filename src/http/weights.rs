//! The weights of base networks: their status, uploads and downloads.

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    binary::Binary,
    body_file::body_file,
    extract::{Json, Path},
    problem::Problem,
    state::AppState,
    upload_slot::UploadSlot,
};
use crate::{
    domain::{
        base::{BASES, Base},
        excerpt::Excerpt,
    },
    pretrained::{Origin, Status},
    storage::Page,
    weights::vgg16::MAX_SOURCE_BYTES,
};

/// List the base networks and the status of their weights
#[utoipa::path(get, path = "", responses((status = 200, description = "All base networks, on one page.", body = Page<Status>)))]
pub async fn list(State(app): State<AppState>) -> Json<Page<Status>> {
    let items = BASES.map(|base| status(&app, base));
    Json(Page { items: items.into(), next_cursor: None })
}

/// Get the status of the weights of a base network
#[utoipa::path(get, path = "", responses((status = 200, description = "Status of the weights.", body = Status)))]
pub async fn show(
    State(app): State<AppState>,
    Path(base): Path<String>,
) -> Result<Json<Status>, Problem> {
    Ok(Json(status(&app, find(&base)?)))
}

fn status(app: &AppState, base: &'static Base) -> Status {
    match base.shipped() {
        Some(weights) => Status::shipped(base, weights),
        None => app.pretrained.status(),
    }
}

fn find(base: &str) -> Result<&'static Base, Problem> {
    let known = || BASES.map(Base::id).join(", ");
    Base::find(base).ok_or_else(|| {
        let detail = format!("there is no base network `{}`; use {}", Excerpt(base), known());
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    })
}

/// Checks that the weights of `base` can be replaced.
fn check_replaceable(base: &str) -> Result<(), Problem> {
    let base = find(base)?;
    if base.shipped().is_none() {
        return Ok(());
    }
    let detail = format!("the {} weights are built in and can't be replaced", base.title);
    Err(Problem::new(StatusCode::CONFLICT, "shipped", detail))
}

/// Upload the weights of a base network
///
/// VGG16: Keras `.h5`, torchvision `.pth`, or `.safetensors`. Cancels a running download.
#[utoipa::path(put, path = "", request_body(content = Binary, content_type = "application/octet-stream"), responses(
    (status = 200, description = "Status of the imported weights.", body = Status),
    (status = 400, description = "`malformed`: the request body is incomplete."),
    (status = 409, description = "`shipped`: the weights are built in and can't be replaced."),
    (status = 413, description = "`too_large`: more than 1 GiB."),
    (status = 422, description = "`weights_unusable`: not a valid file of these weights; `detail` names the tensor."),
    (status = 429, description = "`too_many_uploads`: more concurrent uploads than `--max-uploads`."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn put(
    State(app): State<AppState>,
    slot: UploadSlot,
    Path(base): Path<String>,
    body: Body,
) -> Result<Json<Status>, Problem> {
    check_replaceable(&base)?;
    let file = body_file(&app, body, MAX_SOURCE_BYTES).await?;
    // On a thread of its own: a client that leaves now does not interrupt it.
    let import = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        app.pretrained.import(file.path())
    });
    Ok(Json(import.await.map_err(|error| Problem::internal(&error))??))
}

/// Request body of a weights download.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WeightsDownload)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Publisher of the weights. Default: `keras`.
    #[serde(default = "keras")]
    source: Origin,
}

const fn keras() -> Origin {
    Origin::Keras
}

/// Start a download of the weights of a base network
///
/// Poll `GET /weights/{base}` for progress.
#[utoipa::path(post, path = "", request_body = Download, responses(
    (status = 202, description = "Download started.", body = Status, headers(("Location" = String, description = "URL of the download status."))),
    (status = 409, description = "`downloading`: a download is already running; `shipped`: the weights are built in."),
))]
pub async fn download(
    State(app): State<AppState>,
    Path(base): Path<String>,
    Json(download): Json<Download>,
) -> Result<Response, Problem> {
    check_replaceable(&base)?;
    let status = app.pretrained.download(download.source)?;
    let location = [(header::LOCATION, format!("/weights/{base}"))];
    Ok((StatusCode::ACCEPTED, location, Json(status)).into_response())
}
