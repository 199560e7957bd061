//! `POST /predict`: photos in, labels out.

use std::time::Instant;

use axum::{
    extract::{Request, State},
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    binary::Binary,
    extract::{Json, Query},
    instances::Instances,
    metrics::server_timing,
    photos::Decoding,
    problem::Problem,
    sent::Sent,
    state::AppState,
};
use crate::{
    domain::prediction::{ModelRef, PredictResponse, Prediction, Timing},
    inference::EngineError,
};

/// `?model=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PredictQuery {
    /// Name or id of the model to ask; the one in service where nothing is said.
    model: Option<String>,
    /// Name of the photo, where only one is sent: its `file_name` in the answer.
    name: Option<String>,
}

/// A form of photos, each under any field name, and what the query can say as well.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the document alone reads it")]
struct PredictForm {
    /// The photos: every part with a `filename`, whatever its field is named.
    #[schema(min_items = 1)]
    image: Vec<Binary>,
    /// As `model` of the query.
    model: Option<String>,
    /// As `name` of the query.
    name: Option<String>,
}

/// Tells what is on each image.
///
/// One image that can't be read fails the whole request; the member `index` says which. In a form,
/// `model` and `name` may be text fields, before or after the files; other text fields are refused.
#[utoipa::path(post, path = "", params(PredictQuery),
    request_body(content(
        (Binary = "image/jpeg"), (Binary = "image/png"), (Binary = "image/webp"), (Binary = "image/gif"), (Binary = "image/bmp"),
        (Binary = "application/octet-stream"), (PredictForm = "multipart/form-data"), (Instances = "application/json"),
    )),
    responses(
        (status = 200, description = "A prediction for each image, in their order.", body = PredictResponse),
        (status = 400, description = "`malformed`"),
        (status = 404, description = "There is no such model."),
        (status = 413, description = "`too_large`, `too_many_images`, `too_many_pixels`"),
        (status = 415, description = "`unsupported_type`, `unsupported_encoding`"),
        (status = 422, description = "`no_image`, `invalid_value`, `model_unusable`, or why an image can't be decoded."),
        (status = 429, description = "`queue_full`, `memory_full`", headers(("Retry-After" = u64, description = "Seconds to wait."))),
        (status = 504, description = "`deadline_exceeded`: the model did not answer in time."),
        (status = 503, description = "`no_model`"),
    ),
)]
pub async fn predict(
    State(state): State<AppState>,
    Query(query): Query<PredictQuery>,
    request: Request,
) -> Result<impl IntoResponse + use<>, Problem> {
    let begun = Instant::now();
    let most = state.config.max_predict_images.get();
    let Sent { content, fields } = Sent::read(&state, request, most, &["model", "name"]).await?;
    let model = fields.or("model", query.model.as_deref())?;
    let name = fields.or("name", query.name.as_deref())?;
    let _admitted = state.admitted.try_acquire().map_err(|_| EngineError::QueueFull)?;
    let engine = state.registry.engine(model.as_deref()).await?;
    let card = engine.card();
    let photos = Decoding::new(&state, card.preprocessing).take(content, name).await?;
    let answer = engine.judge(photos.pixels).await?;
    let predictions = photos.names.into_iter().zip(answer.output).map(|(name, logit)| {
        Prediction::from_logit(name, &card.classes, logit).ok_or_else(|| {
            Problem::internal(&std::io::Error::other("a model of other than two classes"))
        })
    });
    let answer = PredictResponse {
        predictions: predictions.collect::<Result<_, _>>()?,
        model: ModelRef { id: card.id, name: card.name.clone(), recipe: card.recipe },
        timing_ms: Timing {
            decode: photos.decode_ms,
            queue: answer.queued.as_secs_f64() * 1e3,
            inference: answer.inference.as_secs_f64() * 1e3,
            total: begun.elapsed().as_secs_f64() * 1e3,
        },
    };
    state.metrics.predicted(&answer);
    Ok((server_timing(&answer.timing_ms), Json(answer)))
}
