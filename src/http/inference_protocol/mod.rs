//! `/v2`: the Open Inference Protocol (that of KServe and Triton) over HTTP, for their clients.
//!
//! Every model has one version, [`VERSION`], one input, `image`, and two outputs, `label` and
//! `probabilities`. [`request`] and [`tensor`] read a request, [`response`] writes the response.

pub mod request;
pub mod response;
pub mod tensor;
#[cfg(test)]
mod tests;

use std::time::Instant;

use axum::{
    Extension,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use self::{
    request::{HEADER_LENGTH, Inference},
    response::InferResponse,
};
use super::{
    binary::Binary,
    body,
    extract::{Json, Path},
    problem::Problem,
    request_body,
    request_images::{ImageDecoder, RequestImages},
    state::{App, AppState},
    system,
};
use crate::{
    access::Caller, domain::model::Model, inference::EngineError, journal::Recorded,
    shadow::MAX_BYTES,
};

/// The version of every model: a newer model has another name.
pub const VERSION: &str = "1";

/// The model that a path names, by name, alias or id, or as `current`.
#[derive(Debug, Deserialize)]
pub struct Target {
    model: String,
    version: Option<String>,
}

impl Target {
    fn name(&self) -> Result<&str, Problem> {
        match self.version.as_deref() {
            None | Some(VERSION) => Ok(&self.model),
            Some(other) => Err(Problem::not_found("version", other)),
        }
    }

    async fn find(&self, state: &App) -> Result<Model, Problem> {
        Ok(match self.name()? {
            "current" => state.registry.current().await?.model,
            name => state.registry.find(name).await?,
        })
    }
}

/// Get server metadata
#[utoipa::path(get, path = "", responses((status = 200, description = "Name, version and supported extensions.", body = Value)))]
pub async fn server() -> Json<Value> {
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    }))
}

/// Check server liveness
#[utoipa::path(get, path = "", responses((status = 200, description = "The process is alive.", body = Value)))]
pub async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

/// Check server readiness (same as `GET /readyz`)
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The server is ready.", body = Value),
    (status = 503, description = "`not_ready`: no model in service, or the database is not writable."),
))]
pub async fn ready(state: State<AppState>) -> Response {
    let answer = system::ready(state).await;
    if answer.status().is_success() {
        return Json(json!({ "ready": true })).into_response();
    }
    answer
}

/// Get model metadata
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "Input and output tensors, and the classes in the order of `probabilities`.", body = Value),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn model(
    State(state): State<AppState>,
    Path(target): Path<Target>,
) -> Result<Json<Value>, Problem> {
    let model = target.find(&state).await?;
    let classes = model.classes.names();
    Ok(Json(json!({
        "name": model.name,
        "versions": [VERSION],
        "platform": "libtorch",
        "inputs": [{ "name": "image", "datatype": "BYTES", "shape": [-1] }],
        "outputs": [
            { "name": "label", "datatype": "BYTES", "shape": [-1] },
            { "name": "probabilities", "datatype": "FP32", "shape": [-1, classes.len()] },
        ],
        // An extension of the protocol: the class of each column of `probabilities`.
        "classes": classes,
    })))
}

/// Check model readiness
///
/// A model that is not in service is loaded by this request.
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The model is ready.", body = Value),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn model_ready(
    State(state): State<AppState>,
    Path(target): Path<Target>,
) -> Result<Json<Value>, Problem> {
    let model = target.find(&state).await?;
    Ok(Json(json!({ "name": model.name, "ready": true })))
}

/// Run inference on the tensor `image`, `BYTES [n]`
///
/// If predictions are logged, the parameter `prediction_ids` of the response has the id of each.
#[utoipa::path(post, path = "", 
    request_body(content((Value = "application/json"), (Binary = "application/octet-stream"))),
    responses(
        (status = 200, description = "The tensors `label`, `BYTES [n]`, and `probabilities`, `FP32 [n, classes]`.", content(
            (Value = "application/json"), (Binary = "application/octet-stream"),
        )),
        (status = 413, description = "`too_large`, `too_many_images`, `too_many_pixels`"),
        (status = 415, description = "`unsupported_type`, `unsupported_encoding`"),
        (status = 422, description = "`invalid_value`: unsupported tensor; or an image decoding error."),
        (status = 429, description = "`queue_full`, `memory_full`", headers(("Retry-After" = u64, description = "Seconds to wait."))),
        (status = 503, description = "`no_model`: no model is in service."),
        (status = 504, description = "`deadline_exceeded`: the prediction timed out."),
    ))]
pub async fn infer(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(target): Path<Target>,
    request: Request,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let name = target.name()?;
    let header_length = request.headers().get(HEADER_LENGTH).cloned();
    let body = body::read(request, request_body::max_json(&state), &state).await?;
    let _admitted = state.admitted.try_acquire().map_err(|_| EngineError::QueueFull)?;
    let engine = state.registry.engine(Some(name)).await?;
    let card = engine.card();
    let ticket = state.shadow.ticket(card.id);
    let decoder = ImageDecoder::new(&state, card.preprocessing);
    let decoder = if ticket.is_some() { decoder.with_copies(MAX_BYTES) } else { decoder };
    let (asked, photos) = read(&state, decoder, body, header_length).await?;
    let result = engine.predict(photos.pixels).await?;
    let predictions = photos.names.into_iter().zip(&result.output);
    let predictions = predictions.map(|(name, output)| engine.prediction(name, output));
    let mut predictions =
        predictions.collect::<Result<Vec<_>, _>>().map_err(|error| Problem::internal(&error))?;
    if let Some(ticket) = ticket {
        ticket.send(card, photos.copies, &predictions);
    }
    let timing = result.timing(started, photos.decode_ms);
    state.metrics.record_prediction(&timing, &predictions);
    let recorded = Recorded {
        engine: &engine,
        token: caller.token().cloned(),
        timing,
        outputs: &result.output,
        images: photos.recorded,
    };
    state.journal.record(recorded, &mut predictions);
    let response = InferResponse { engine: &engine, id: asked.id, predictions: &predictions };
    Ok(response.write(&asked.outputs))
}

/// Parses a request and decodes its images. The body is dropped as soon as they are decoded.
async fn read(
    state: &App,
    mut decoding: ImageDecoder<'_>,
    body: Bytes,
    header_length: Option<HeaderValue>,
) -> Result<(Inference, RequestImages), Problem> {
    let max_images = state.config.max_predict_images.get();
    let (inference, images) = request::parse(&body, header_length.as_ref(), max_images)?;
    decoding.reserve_copies(&body)?;
    for (index, image) in images.into_iter().enumerate() {
        decoding.push_copy(image.bytes(index)?).await?;
    }
    Ok((inference, decoding.finish().await?))
}

/// Adds the member `error` to the problems under `/v2`, where the protocol's clients expect the
/// message. It wraps every route, since invalid tokens and unknown paths count too.
pub async fn add_error_member(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let ours = path == "/v2" || path.starts_with("/v2/");
    let response = next.run(request).await;
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if !ours || content_type.is_none_or(|it| it != "application/problem+json") {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Response::from_parts(head, Body::empty());
    };
    head.headers.remove(header::CONTENT_LENGTH);
    let Ok(mut problem) = serde_json::from_slice::<Value>(&body) else {
        return Response::from_parts(head, Body::from(body));
    };
    problem["error"] = problem["detail"].clone();
    Response::from_parts(head, Body::from(problem.to_string()))
}

fn shared_memory() -> Problem {
    invalid("shared memory is not supported; exchange tensors in the request and response bodies")
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
}
