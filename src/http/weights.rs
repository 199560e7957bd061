//! The VGG16 weights: what is there, taking a file in, downloading one.

use std::io;

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use super::{
    body::{broke_off, too_large},
    error::disk_full,
    extract::Json,
    problem::Problem,
    state::AppState,
};
use crate::{
    pretrained::{Origin, Status},
    weights::vgg16::MAX_SOURCE_BYTES,
};

/// `GET /weights/vgg16`
pub async fn show(State(app): State<AppState>) -> Json<Status> {
    Json(app.pretrained.status())
}

/// `PUT /weights/vgg16`: the file is the body.
///
/// # Errors
/// 413 over 1 GiB; 422 for a file that is not of VGG16 weights, naming the tensor.
pub async fn put(State(app): State<AppState>, body: Body) -> Result<Json<Status>, Problem> {
    let file =
        tempfile::NamedTempFile::new_in(app.data_dir.tmp()).map_err(|error| refused(&error))?;
    let clone = file.reopen().map_err(|error| refused(&error))?;
    let mut writer = tokio::fs::File::from_std(clone);
    let mut bytes = 0;
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| broke_off(&error))?;
        bytes += chunk.len() as u64;
        if bytes > MAX_SOURCE_BYTES {
            return Err(too_large(MAX_SOURCE_BYTES));
        }
        writer.write_all(&chunk).await.map_err(|error| refused(&error))?;
    }
    writer.flush().await.map_err(|error| refused(&error))?;
    // On a thread of its own: a client that leaves now does not stop it halfway.
    let import = tokio::task::spawn_blocking(move || app.pretrained.import(file.path()));
    Ok(Json(import.await.map_err(|error| Problem::internal(&error))??))
}

fn refused(error: &io::Error) -> Problem {
    if error.kind() == io::ErrorKind::StorageFull { disk_full() } else { Problem::internal(error) }
}

/// What a download is asked for with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    #[serde(default = "keras")]
    source: Origin,
}

const fn keras() -> Origin {
    Origin::Keras
}

/// `POST /weights/vgg16/download`: 202; `GET /weights/vgg16` tells how it goes.
///
/// # Errors
/// 409 while one is under way.
pub async fn download(
    State(app): State<AppState>,
    Json(download): Json<Download>,
) -> Result<Response, Problem> {
    let status = app.pretrained.download(download.source)?;
    let location = [(header::LOCATION, "/weights/vgg16")];
    Ok((StatusCode::ACCEPTED, location, Json(status)).into_response())
}
