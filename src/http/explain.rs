//! `POST /explain`: what in a photo speaks for its label.

use std::io::Cursor;

use axum::{
    extract::{Request, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use image::ImageFormat;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    binary::Binary,
    extract::{Json, Query},
    instances::Instances,
    photos::Decoding,
    problem::Problem,
    sent::Sent,
    state::AppState,
};
use crate::{
    domain::{
        excerpt::Excerpt,
        prediction::{ModelRef, Prediction},
    },
    inference::{EngineError, gradcam::Map},
};

/// Pixels of the longer side of the picture that the map is laid over.
const LONGEST: u32 = 1024;

const LABEL: HeaderName = HeaderName::from_static("x-label");
const PROBABILITY: HeaderName = HeaderName::from_static("x-probability");

/// Which model is asked, and in which form it answers.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// Name or id of a model; without it the one in service answers.
    model: Option<String>,
    /// The form of the answer.
    #[param(inline, value_type = Option<Format>, default = "png")]
    format: Option<String>,
    /// Name of the photo: its `file_name` in the answer.
    name: Option<String>,
}

/// A form with a photo, and what the query can say as well.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the document alone reads it")]
struct ExplainForm {
    /// The photo: a part with a `filename`, whatever its field is named.
    image: Binary,
    /// As `model` of the query.
    model: Option<String>,
    /// As `format` of the query.
    #[schema(inline)]
    format: Option<Format>,
    /// As `name` of the query.
    name: Option<String>,
}

/// The form of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
enum Format {
    /// The photo under its map.
    Png,
    /// The map itself.
    Json,
}

impl Format {
    fn of(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("png") => Ok(Self::Png),
            Some("json") => Ok(Self::Json),
            Some(other) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_value",
                format!("format must be png or json, not `{}`", Excerpt(other)),
            )
            .with("field", "format")),
        }
    }
}

/// What in a photo speaks for its label.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    #[serde(flatten)]
    prediction: Prediction,
    /// The model that answered.
    model: ModelRef,
    /// Grad-CAM of the label over the last convolution, stretched over the photo.
    map: Map,
}

/// Shows what in a photo speaks for its label, by Grad-CAM.
///
/// In a form, `model`, `format` and `name` may be text fields, before or after the file; other
/// text fields are refused.
#[utoipa::path(post, path = "", params(ExplainQuery),
    request_body(content(
        (Binary = "image/jpeg"), (Binary = "image/png"), (Binary = "image/webp"), (Binary = "image/gif"), (Binary = "image/bmp"),
        (Binary = "application/octet-stream"), (ExplainForm = "multipart/form-data"), (Instances = "application/json"),
    )),
    responses(
        (status = 200, description = "The photo under its map, or the map.",
            content((Binary = "image/png"), (Explanation = "application/json")),
            headers(("X-Label" = String, description = "The label."), ("X-Probability" = f64, description = "Its probability."))),
        (status = 400, description = "`malformed`"),
        (status = 404, description = "There is no such model."),
        (status = 413, description = "`too_large`, `too_many_images`, `too_many_pixels`"),
        (status = 415, description = "`unsupported_type`, `unsupported_encoding`"),
        (status = 422, description = "`no_image`, `invalid_value`, `model_unusable`, or why the image can't be decoded."),
        (status = 429, description = "`queue_full`, `memory_full`", headers(("Retry-After" = u64, description = "Seconds to wait."))),
        (status = 503, description = "`no_model`: none is in service."),
        (status = 504, description = "`deadline_exceeded`: the model did not answer in time."),
    ),
)]
pub async fn explain(
    State(state): State<AppState>,
    Query(query): Query<ExplainQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let Sent { content, fields } =
        Sent::read(&state, request, 1, &["model", "format", "name"]).await?;
    let model = fields.or("model", query.model.as_deref())?;
    let name = fields.or("name", query.name.as_deref())?;
    let format = Format::of(fields.or("format", query.format.as_deref())?.as_deref())?;
    let _admitted = state.admitted.try_acquire().map_err(|_| EngineError::QueueFull)?;
    let engine = state.registry.engine(model.as_deref()).await?;
    let card = engine.card();
    let decoding = Decoding::new(&state, card.preprocessing).with_picture(LONGEST);
    let mut photos = decoding.take(content, name).await?;
    let one = (photos.names.pop(), photos.pixels.pop(), photos.pictures.pop());
    let (Some(name), Some(pixels), Some(picture)) = one else {
        return Err(Problem::internal(&std::io::Error::other("a photo without its picture")));
    };
    let (logit, map) = engine.explain(pixels).await?.output;
    let prediction = Prediction::from_logit(name, &card.classes, logit).ok_or_else(|| {
        Problem::internal(&std::io::Error::other("a model of other than two classes"))
    })?;
    let headers =
        [(LABEL, prediction.label.to_string()), (PROBABILITY, prediction.probability.to_string())];
    if format == Format::Json {
        let model = ModelRef { id: card.id, name: card.name.clone(), recipe: card.recipe };
        return Ok((headers, Json(Explanation { prediction, model, map })).into_response());
    }
    let paint = move || {
        let mut png = Vec::new();
        map.over(&picture).write_to(&mut Cursor::new(&mut png), ImageFormat::Png).map(|()| png)
    };
    let png = tokio::task::spawn_blocking(paint)
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| Problem::internal(&error))?;
    Ok((headers, [(header::CONTENT_TYPE, "image/png")], png).into_response())
}
