//! `POST /predict`: photos in, labels out.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::{StreamExt as _, stream::FuturesOrdered};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    body,
    document::{Binary, Files},
    error::unreadable,
    extract::{Json, Query},
    metrics::server_timing,
    parts::Parts,
    problem::Problem,
    state::{App, AppState},
};
use crate::{
    domain::{
        model::Preprocessing,
        prediction::{ModelRef, PredictResponse, Prediction, Timing},
    },
    inference::EngineError,
    vision,
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

/// The photos of a request, decoded and resized.
struct Photos {
    names: Vec<Option<String>>,
    pixels: Vec<Vec<u8>>,
    decode_ms: f64,
}

/// Images as JSON.
#[derive(Debug, Deserialize, ToSchema)]
struct Instances {
    #[schema(min_items = 1)]
    instances: Vec<Instance>,
}

/// One image.
#[derive(Debug, Deserialize, ToSchema)]
struct Instance {
    /// Its encoded bytes in base64.
    #[schema(content_encoding = "base64")]
    b64: String,
}

impl Photos {
    async fn read(
        state: &App,
        preprocessing: Preprocessing,
        request: Request,
    ) -> Result<Self, Problem> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse::<mime::Mime>().ok());
        let mut decoding = Decoding::new(state, preprocessing);
        let (kind, subtype) =
            content_type.as_ref().map_or(("application", "octet-stream"), |mime| {
                (mime.type_().as_str(), mime.subtype().as_str())
            });
        match (kind, subtype) {
            ("multipart", "form-data") => decoding.multipart(request).await?,
            ("application", "json") => decoding.json(request).await?,
            ("image", _) | ("application", "octet-stream") => {
                let bytes = body::read(request, state.config.max_image_bytes).await?;
                decoding.push(None, bytes).await?;
            }
            _ => {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_type",
                    "send an image (Content-Type: image/jpeg, …), multipart/form-data with image files, or JSON {\"instances\": [{\"b64\": …}]}",
                ));
            }
        }
        decoding.finish().await
    }
}

type Decoded = Result<(Option<String>, Vec<u8>), Problem>;

/// Photos on their way through decoding, a few at a time, in their order.
struct Decoding<'a> {
    state: &'a App,
    preprocessing: Preprocessing,
    begun: Instant,
    running: FuturesOrdered<futures::future::BoxFuture<'a, Decoded>>,
    count: usize,
}

impl<'a> Decoding<'a> {
    fn new(state: &'a App, preprocessing: Preprocessing) -> Self {
        Self {
            state,
            preprocessing,
            begun: Instant::now(),
            running: FuturesOrdered::new(),
            count: 0,
        }
    }

    async fn multipart(&mut self, request: Request) -> Result<(), Problem> {
        let config = &self.state.config;
        let most = config.max_image_bytes.saturating_mul(config.max_predict_images.get() as u64);
        let mut form = Parts::of(request, most).await?;
        while let Some(mut part) = form.next().await? {
            let name = part.name();
            let mut bytes = Vec::new();
            while let Some(chunk) = part.chunk().await? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() as u64 > config.max_image_bytes {
                    return Err(body::too_large(config.max_image_bytes));
                }
            }
            self.push(Some(name), bytes.into()).await?;
        }
        Ok(())
    }

    async fn json(&mut self, request: Request) -> Result<(), Problem> {
        let limit = self.state.config.max_image_bytes.saturating_mul(4);
        let body = body::read(request, limit).await?;
        let Instances { instances } = serde_json::from_slice(&body).map_err(|error| {
            let (status, code) = if error.is_data() {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_value")
            } else {
                (StatusCode::BAD_REQUEST, "malformed")
            };
            Problem::new(status, code, error.to_string())
        })?;
        for (index, instance) in instances.into_iter().enumerate() {
            let bytes = BASE64.decode(&instance.b64).map_err(|error| {
                Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "invalid_value",
                    format!("instances[{index}].b64 is not base64: {error}"),
                )
            })?;
            self.push(None, bytes.into()).await?;
        }
        Ok(())
    }

    /// Starts decoding one photo, waiting for a free place first.
    async fn push(&mut self, name: Option<String>, bytes: Bytes) -> Result<(), Problem> {
        let index = self.count;
        self.count += 1;
        let most = self.state.config.max_predict_images.get();
        if self.count > most {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_many_images",
                format!("at most {most} images can be judged in one request"),
            ));
        }
        let decoders = Arc::clone(&self.state.decoders);
        let permit = decoders.acquire_owned().await.map_err(|error| Problem::internal(&error))?;
        let limits = vision::Limits { max_pixels: self.state.config.max_image_pixels };
        let preprocessing = self.preprocessing;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            vision::prepare(&bytes, &limits, &preprocessing)
        });
        self.running.push_back(Box::pin(async move {
            let prepared = task.await.map_err(|error| Problem::internal(&error))?;
            match prepared {
                Ok(pixels) => Ok((name, pixels)),
                Err(error) => Err(unreadable(&error, index, name.as_deref())),
            }
        }));
        Ok(())
    }

    async fn finish(mut self) -> Result<Photos, Problem> {
        if self.count == 0 {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "no_image",
                "the request has no image",
            ));
        }
        let (mut names, mut pixels) =
            (Vec::with_capacity(self.count), Vec::with_capacity(self.count));
        while let Some(photo) = self.running.next().await {
            let (name, photo) = photo?;
            names.push(name);
            pixels.push(photo);
        }
        Ok(Photos { names, pixels, decode_ms: self.begun.elapsed().as_secs_f64() * 1e3 })
    }
}
