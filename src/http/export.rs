//! `GET /models/{m}/export`: a model for the runtimes of others.

use std::io::SeekFrom;

use async_stream::try_stream;
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::{Stream, StreamExt as _};
use serde::Deserialize;
use tokio::{
    fs::File,
    io::{self, AsyncReadExt as _, AsyncSeekExt as _},
};
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::{
    binary::Binary,
    extract::{Path, Query, parse},
    models::damaged_problem,
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::excerpt::Excerpt,
    error_chain::chain,
    onnx::{self, Input, OnnxFile, Part},
};

/// The format, and what the exported model takes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// Format.
    #[param(inline, value_type = ExportFormat, required = true)]
    format: Option<String>,
    /// What the exported model takes.
    #[param(inline, value_type = Option<ExportInput>, default = "image")]
    input: Option<String>,
}

/// Format.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only the OpenAPI document reads it")]
enum ExportFormat {
    /// ONNX, operator set 18, fp32.
    Onnx,
}

/// What the exported model takes.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only the OpenAPI document reads it")]
enum ExportInput {
    /// `image`: one photo of any size, RGB bytes `[height, width, 3]`.
    Image,
    /// `pixels`: photos that are resized already, RGB bytes `[n, height, width, 3]`.
    Tensor,
}

/// Export a model as ONNX
///
/// One file that ONNX Runtime and others run without Pawprint. Its outputs are `probabilities`, `label`
/// (an index) and, for models on a pretrained network, `distance` to the training images; its metadata
/// has `labels`, `answer_above` and `unlike_above`.
#[utoipa::path(get, path = "", params(ExportQuery), responses(
    (status = 200, description = "The file.", body = Binary, content_type = "application/octet-stream"),
    (status = 422, description = "`invalid_value`"),
    (status = 500, description = "`model_damaged`: the file is missing or damaged. `internal`"),
))]
pub async fn export(
    State(state): State<AppState>,
    Path(model): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    match query.format.as_deref() {
        Some("onnx") => {}
        Some(other) => return Err(no_format(&format!("not `{}`", Excerpt(other)))),
        None => return Err(no_format("and is required")),
    }
    let input: Option<Input> =
        parse(query.input.as_deref()).map_err(|problem| problem.with("field", "input"))?;
    let model = state.registry.find(&model).await?;
    let path = state.data_dir.model(model.id);
    let write = move || onnx::export(&path, Some(model.thresholds), input.unwrap_or_default());
    let file = tokio::task::spawn_blocking(write).await.map_err(|it| Problem::internal(&it))?;
    let file = file.map_err(|error| {
        tracing::error!(error = chain(&error), "a model can't be exported");
        damaged_problem()
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, file.bytes.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.onnx\"", model.name)),
    ];
    Ok((headers, Body::from_stream(stream(file))).into_response())
}

fn no_format(what: &str) -> Problem {
    let detail = format!("format must be onnx, {what}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail).with("field", "format")
}

/// The bytes of the file. Where the model file has ended early, so does this, before the length that
/// was announced.
fn stream(file: OnnxFile) -> impl Stream<Item = io::Result<Bytes>> {
    let OnnxFile { source, parts, .. } = file;
    let mut source = File::from_std(source);
    try_stream! {
        for part in parts {
            match part {
                Part::Bytes(bytes) => yield bytes,
                Part::InFile { offset, length } => {
                    source.seek(SeekFrom::Start(offset)).await?;
                    let mut chunks = ReaderStream::new((&mut source).take(length));
                    while let Some(chunk) = chunks.next().await {
                        yield chunk?;
                    }
                }
            }
        }
    }
}
