//! `POST /predict`: classifies images.

use std::time::Instant;

use axum::{
    Extension,
    extract::{Request, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    binary::Binary,
    extract::{Json, Query},
    instances::Instances,
    metrics::server_timing,
    problem::Problem,
    request_body::RequestBody,
    request_images::ImageDecoder,
    state::AppState,
};
use crate::{
    access::Caller,
    domain::{
        excerpt::Excerpt,
        prediction::{ModelRef, PredictResponse, Prediction},
    },
    inference::EngineError,
    journal::Recorded,
    shadow::MAX_BYTES,
};

/// `?model=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PredictQuery {
    /// Name, alias or id of the model. Default: the model in service.
    model: Option<String>,
    /// Name of a single image: its `file_name` in the response.
    name: Option<String>,
    /// Return only this many classes in `probabilities`, the most likely ones. Default: all.
    #[param(value_type = Option<u32>, minimum = 1)]
    top: Option<String>,
    /// `false` leaves out `unsure` and `reason`.
    #[param(value_type = Option<bool>, default = true)]
    unsure: Option<String>,
}

/// Multipart form with image files, and the query parameters as text fields; any field names.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only the OpenAPI document reads it")]
struct PredictForm {
    /// The images: every part with a `filename`; any field name.
    #[schema(min_items = 1)]
    image: Vec<Binary>,
    /// Same as `model` in the query.
    model: Option<String>,
    /// Same as `name` in the query.
    name: Option<String>,
    /// Same as `top` in the query.
    #[schema(value_type = Option<u32>)]
    top: Option<String>,
    /// Same as `unsure` in the query.
    #[schema(value_type = Option<bool>)]
    unsure: Option<String>,
}

/// Classify images
///
/// An unreadable image fails the whole request; `index` identifies it. In a form, `model`, `name`,
/// `top` and `unsure` may be text fields, before or after the files; other text fields are rejected.
#[utoipa::path(post, path = "", params(PredictQuery),
    request_body(content(
        (Binary = "image/jpeg"), (Binary = "image/png"), (Binary = "image/webp"), (Binary = "image/gif"), (Binary = "image/bmp"),
        (Binary = "application/octet-stream"), (PredictForm = "multipart/form-data"), (Instances = "application/json"),
    )),
    responses(
        (status = 200, description = "One prediction per image, in request order.", body = PredictResponse),
        (status = 400, description = "`malformed`"),
        (status = 404, description = "Unknown model."),
        (status = 413, description = "`too_large`, `too_many_images`, `too_many_pixels`"),
        (status = 415, description = "`unsupported_type`, `unsupported_encoding`"),
        (status = 422, description = "`no_image`, `invalid_value`, `model_unusable`, or an image decoding error."),
        (status = 429, description = "`queue_full`, `memory_full`", headers(("Retry-After" = u64, description = "Seconds to wait."))),
        (status = 504, description = "`deadline_exceeded`: the prediction timed out."),
        (status = 503, description = "`no_model`: no model is in service."),
    ),
)]
pub async fn predict(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<PredictQuery>,
    request: Request,
) -> Result<impl IntoResponse + use<>, Problem> {
    let started = Instant::now();
    let max_images = state.config.max_predict_images.get();
    let RequestBody { content, fields } =
        RequestBody::read(&state, request, max_images, &["model", "name", "top", "unsure"]).await?;
    let model = fields.resolve("model", query.model.as_deref())?;
    let name = fields.resolve("name", query.name.as_deref())?;
    let top = fields.resolve("top", query.top.as_deref())?.as_deref().map(parse_top).transpose()?;
    let unsure = fields.resolve("unsure", query.unsure.as_deref())?;
    let unsure = unsure.as_deref().map(parse_unsure).transpose()?.unwrap_or(true);
    let _admitted = state.admitted.try_acquire().map_err(|_| EngineError::QueueFull)?;
    let engine = state.registry.engine(model.as_deref()).await?;
    let card = engine.card();
    let ticket = state.shadow.ticket(card.id);
    let decoder = ImageDecoder::new(&state, card.preprocessing);
    let decoder = if ticket.is_some() { decoder.with_copies(MAX_BYTES) } else { decoder };
    let photos = decoder.decode(content, name).await?;
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
    let shown = |prediction: Prediction| {
        let prediction = match top {
            Some(top) => prediction.with_top(top),
            None => prediction,
        };
        if unsure { prediction } else { prediction.without_unsure() }
    };
    let response = PredictResponse {
        predictions: predictions.into_iter().map(shown).collect(),
        model: ModelRef { id: card.id, name: card.name.clone(), recipe: card.recipe },
        timing_ms: timing,
    };
    Ok((server_timing(&response.timing_ms), Json(response)))
}

/// Whether to say that the model is unsure.
fn parse_unsure(text: &str) -> Result<bool, Problem> {
    text.parse().map_err(|_| {
        let detail = format!("unsure must be true or false, not `{}`", Excerpt(text));
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
            .with("field", "unsure")
    })
}

/// Number of classes to return.
fn parse_top(text: &str) -> Result<usize, Problem> {
    text.parse().ok().filter(|top| *top > 0).ok_or_else(|| {
        let detail = format!("top must be a whole number of at least 1, not `{}`", Excerpt(text));
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail).with("field", "top")
    })
}
