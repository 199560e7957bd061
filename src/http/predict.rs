//! `POST /predict`: photos in, labels out.

use std::time::Instant;

use axum::extract::{Request, State};
use serde::Deserialize;

use super::{
    extract::{Json, Query},
    photos::Photos,
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::prediction::{ModelRef, PredictResponse, Prediction, Timing},
    inference::EngineError,
};

/// `?model=`
#[derive(Debug, Deserialize)]
pub struct PredictQuery {
    model: Option<String>,
}

/// `POST /predict`
pub async fn predict(
    State(state): State<AppState>,
    Query(query): Query<PredictQuery>,
    request: Request,
) -> Result<Json<PredictResponse>, Problem> {
    let begun = Instant::now();
    let _admitted = state.admitted.try_acquire().map_err(|_| EngineError::QueueFull)?;
    let engine = state.registry.engine(query.model.as_deref()).await?;
    let card = engine.card();
    let photos = Photos::read(&state, card.preprocessing, request).await?;
    let answer = engine.ask(photos.pixels).await?;
    let predictions = photos.names.into_iter().zip(answer.logits).map(|(name, logit)| {
        Prediction::from_logit(name, &card.classes, logit).ok_or_else(|| {
            Problem::internal(&std::io::Error::other("a model of other than two classes"))
        })
    });
    Ok(Json(PredictResponse {
        predictions: predictions.collect::<Result<_, _>>()?,
        model: ModelRef { id: card.id, name: card.name.clone(), recipe: card.recipe },
        timing_ms: Timing {
            decode: photos.decode_ms,
            queue: answer.queued.as_secs_f64() * 1e3,
            inference: answer.inference.as_secs_f64() * 1e3,
            total: begun.elapsed().as_secs_f64() * 1e3,
        },
    }))
}
