//! `POST /predict`: photos in, labels out.

use std::time::Instant;

use axum::{
    extract::{Request, State},
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    document::{Binary, Files},
    extract::{Json, Query},
    metrics::server_timing,
    photos::{Instances, Photos},
    problem::Problem,
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
}

/// Tells what is on each image.
///
/// One image that can't be read fails the whole request; the member `index` says which.
#[utoipa::path(post, path = "", params(PredictQuery),
    request_body(content(
        (Binary = "image/jpeg"), (Binary = "image/png"), (Binary = "image/webp"), (Binary = "image/gif"), (Binary = "image/bmp"),
        (Binary = "application/octet-stream"), (Files = "multipart/form-data"), (Instances = "application/json"),
    )),
    responses(
        (status = 200, description = "A prediction for each image, in their order.", body = PredictResponse),
        (status = 400, description = "`malformed`"),
        (status = 404, description = "There is no such model."),
        (status = 413, description = "`too_large`, `too_many_images`, `too_many_pixels`"),
        (status = 415, description = "`unsupported_type`"),
        (status = 422, description = "`no_image`, `invalid_value`, `model_unusable`, or why an image can't be decoded."),
        (status = 429, description = "`queue_full`", headers(("Retry-After" = u64, description = "Seconds to wait."))),
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
    let _admitted = state.admitted.try_acquire().map_err(|_| EngineError::QueueFull)?;
    let engine = state.registry.engine(query.model.as_deref()).await?;
    let card = engine.card();
    let photos = Photos::read(&state, card.preprocessing, request).await?;
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
