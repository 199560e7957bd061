//! The VGG16 weights: what is there, taking a file in, downloading one.

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use utoipa::ToSchema;

use super::{
    binary::Binary,
    body::{broke_off, too_large},
    error::of_disk,
    extract::Json,
    problem::Problem,
    state::AppState,
};
use crate::{
    pretrained::{Origin, Status},
    weights::vgg16::MAX_SOURCE_BYTES,
};

/// Whether there are VGG16 weights to begin with.
#[utoipa::path(get, path = "", responses((status = 200, description = "Where they stand.", body = Status)))]
pub async fn show(State(app): State<AppState>) -> Json<Status> {
    Json(app.pretrained.status())
}

/// Takes in a file of VGG16 weights: Keras' `.h5`, torchvision's `.pth`, or `.safetensors`. Ends a
/// download that is under way.
#[utoipa::path(put, path = "", request_body(content = Binary, content_type = "application/octet-stream"), responses(
    (status = 200, description = "The weights now there.", body = Status),
    (status = 400, description = "`malformed`: the body broke off."),
    (status = 413, description = "`too_large`: more than 1 GiB."),
    (status = 422, description = "`weights_unusable`: not a file of VGG16 weights; the detail names the tensor."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn put(State(app): State<AppState>, body: Body) -> Result<Json<Status>, Problem> {
    let file =
        tempfile::NamedTempFile::new_in(app.data_dir.tmp()).map_err(|error| of_disk(&error))?;
    let clone = file.reopen().map_err(|error| of_disk(&error))?;
    let mut writer = tokio::fs::File::from_std(clone);
    let mut bytes = 0;
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| broke_off(&error))?;
        bytes += chunk.len() as u64;
        if bytes > MAX_SOURCE_BYTES {
            return Err(too_large(MAX_SOURCE_BYTES));
        }
        writer.write_all(&chunk).await.map_err(|error| of_disk(&error))?;
    }
    writer.flush().await.map_err(|error| of_disk(&error))?;
    // On a thread of its own: a client that leaves now does not stop it halfway.
    let import = tokio::task::spawn_blocking(move || app.pretrained.import(file.path()));
    Ok(Json(import.await.map_err(|error| Problem::internal(&error))??))
}

/// What a download is asked for with.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WeightsDownload)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Whose weights; Keras' where nothing is said.
    #[serde(default = "keras")]
    source: Origin,
}

const fn keras() -> Origin {
    Origin::Keras
}

/// Begins to download VGG16 weights; `GET /weights/vgg16` tells how it goes.
#[utoipa::path(post, path = "", request_body = Download, responses(
    (status = 202, description = "It has begun.", body = Status, headers(("Location" = String, description = "Where to look."))),
    (status = 409, description = "`downloading`: one is under way."),
))]
pub async fn download(
    State(app): State<AppState>,
    Json(download): Json<Download>,
) -> Result<Response, Problem> {
    let status = app.pretrained.download(download.source)?;
    let location = [(header::LOCATION, "/weights/vgg16")];
    Ok((StatusCode::ACCEPTED, location, Json(status)).into_response())
}
