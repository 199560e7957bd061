//! `POST /explain`: the regions of an image that support its prediction.

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
    problem::Problem,
    request_body::RequestBody,
    request_images::ImageDecoder,
    state::AppState,
};
use crate::{
    domain::{
        ClassName,
        dataset::Classes,
        excerpt::Excerpt,
        prediction::{ModelRef, Prediction},
    },
    inference::{EngineError, gradcam::Heatmap},
};

/// Pixels of the longer side of the image below the heat map.
const MAX_SIDE: u32 = 1024;

const LABEL: HeaderName = HeaderName::from_static("x-label");
const PROBABILITY: HeaderName = HeaderName::from_static("x-probability");

/// The model and the response format.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// Name or id of the model. Default: the model in service.
    model: Option<String>,
    /// Response format.
    #[param(inline, value_type = Option<Format>, default = "png")]
    format: Option<String>,
    /// Name of the image: its `file_name` in the response.
    name: Option<String>,
    /// The class to explain. Default: the predicted class.
    class: Option<String>,
}

/// A form with an image, and the query parameters as text fields.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only the OpenAPI document reads it")]
struct ExplainForm {
    /// The image: a part with a `filename`; any field name.
    image: Binary,
    /// Same as `model` in the query.
    model: Option<String>,
    /// Same as `format` in the query.
    #[schema(inline)]
    format: Option<Format>,
    /// Same as `name` in the query.
    name: Option<String>,
    /// Same as `class` in the query.
    class: Option<String>,
}

/// Response format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
enum Format {
    /// PNG overlay.
    Png,
    /// Heat map as JSON.
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

/// Prediction with its explanation.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    #[serde(flatten)]
    prediction: Prediction,
    /// The model used.
    model: ModelRef,
    /// The class that the heat map explains.
    class: ClassName,
    /// Grad-CAM heat map at the last convolutional layer, covering the whole image.
    map: Heatmap,
}

/// Explain a prediction with a Grad-CAM heat map
///
/// In a form, `model`, `format`, `name` and `class` may be text fields, before or after the file; other text
/// fields are rejected.
#[utoipa::path(post, path = "", params(ExplainQuery),
    request_body(content(
        (Binary = "image/jpeg"), (Binary = "image/png"), (Binary = "image/webp"), (Binary = "image/gif"), (Binary = "image/bmp"),
        (Binary = "application/octet-stream"), (ExplainForm = "multipart/form-data"), (Instances = "application/json"),
    )),
    responses(
        (status = 200, description = "The image with heat map overlay (PNG), or the heat map (JSON).",
            content((Binary = "image/png"), (Explanation = "application/json")),
            headers(("X-Label" = String, description = "Predicted class."), ("X-Probability" = f64, description = "Probability of the predicted class."))),
        (status = 400, description = "`malformed`"),
        (status = 404, description = "Unknown model."),
        (status = 413, description = "`too_large`, `too_many_images`, `too_many_pixels`"),
        (status = 415, description = "`unsupported_type`, `unsupported_encoding`"),
        (status = 422, description = "`no_image`, `invalid_value`, `model_unusable`, or an image decoding error."),
        (status = 429, description = "`queue_full`, `memory_full`", headers(("Retry-After" = u64, description = "Seconds to wait."))),
        (status = 503, description = "`no_model`: no model is in service."),
        (status = 504, description = "`deadline_exceeded`: the prediction timed out."),
    ),
)]
pub async fn explain(
    State(state): State<AppState>,
    Query(query): Query<ExplainQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let RequestBody { content, fields } =
        RequestBody::read(&state, request, 1, &["model", "format", "name", "class"]).await?;
    let model = fields.resolve("model", query.model.as_deref())?;
    let name = fields.resolve("name", query.name.as_deref())?;
    let class = fields.resolve("class", query.class.as_deref())?;
    let format = Format::of(fields.resolve("format", query.format.as_deref())?.as_deref())?;
    let _admitted = state.admitted.try_acquire().map_err(|_| EngineError::QueueFull)?;
    let engine = state.registry.engine(model.as_deref()).await?;
    let card = engine.card();
    let class = class.map(|class| index_of(&card.classes, &class)).transpose()?;
    let decoding = ImageDecoder::new(&state, card.preprocessing).with_picture(MAX_SIDE);
    let mut photos = decoding.decode(content, name).await?;
    let one = (photos.names.pop(), photos.pixels.pop(), photos.pictures.pop());
    let (Some(name), Some(pixels), Some(picture)) = one else {
        return Err(Problem::internal(&std::io::Error::other("the decoded image is missing")));
    };
    let (output, map) = engine.explain(pixels, class).await?.output;
    let prediction = engine.prediction(name, &output);
    let prediction = prediction.map_err(|error| Problem::internal(&error))?;
    let explained = class.and_then(|index| card.classes.name(index)).unwrap_or(&prediction.label);
    let explained = explained.clone();
    let headers =
        [(LABEL, prediction.label.to_string()), (PROBABILITY, prediction.probability.to_string())];
    if format == Format::Json {
        let model = ModelRef { id: card.id, name: card.name.clone(), recipe: card.recipe };
        return Ok((headers, Json(Explanation { prediction, model, class: explained, map }))
            .into_response());
    }
    let paint = move || {
        let mut png = Vec::new();
        map.overlay_on(&picture)
            .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
            .map(|()| png)
    };
    let png = tokio::task::spawn_blocking(paint)
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| Problem::internal(&error))?;
    Ok((headers, [(header::CONTENT_TYPE, "image/png")], png).into_response())
}

/// The index of the class of that name.
fn index_of(classes: &Classes, name: &str) -> Result<usize, Problem> {
    classes.index_of(name).ok_or_else(|| {
        let detail = format!("the model has no class `{}`", Excerpt(name));
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
            .with("field", "class")
    })
}
