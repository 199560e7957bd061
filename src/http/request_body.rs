//! The body of a prediction request, read whole before a model is looked up.
//!
//! A client may send slowly, and a form may name its model after the images. So no slot of the
//! queue is held meanwhile.

use axum::{body::Bytes, extract::Request, http::StatusCode};

use super::{
    body,
    body_buffer::BodyBuffer,
    fields::Fields,
    parts::{Part, Parts},
    problem::Problem,
    state::App,
};

/// Maximum size of a JSON body, in multiples of that of one image.
const MAX_JSON_IMAGES: u64 = 4;

/// The body of a request, and the text fields of its form.
#[derive(Debug)]
pub struct RequestBody {
    /// The images, or the JSON that contains them.
    pub content: Content,
    /// The form's text fields; empty if the body is not a form.
    pub fields: Fields,
}

/// Images as received.
#[derive(Debug)]
pub enum Content {
    /// A single one.
    Image(Bytes),
    /// The files of a form, each with its name.
    Files(Vec<(String, Bytes)>),
    /// JSON that contains images.
    Json(Bytes),
}

/// Maximum bytes of a JSON body with images.
#[must_use]
pub fn max_json(state: &App) -> u64 {
    state.config.max_image_bytes.saturating_mul(MAX_JSON_IMAGES)
}

impl RequestBody {
    /// Reads a body in any of the three formats of `POST /predict`, with at most `most` images in a
    /// form and the text fields `known`.
    ///
    /// # Errors
    /// A body in another format, or one that is malformed or too large.
    pub async fn read(
        state: &App,
        request: Request,
        max_images: usize,
        known: &'static [&'static str],
    ) -> Result<Self, Problem> {
        let content_type = body::media_type(request.headers())?;
        let (kind, subtype) =
            content_type.as_ref().map_or(("application", "octet-stream"), |mime| {
                (mime.type_().as_str(), mime.subtype().as_str())
            });
        let mut fields = Fields::new(known);
        let content = match (kind, subtype) {
            ("multipart", "form-data") => {
                Content::Files(files(state, request, max_images, &mut fields).await?)
            }
            ("application", "json") => {
                Content::Json(body::read(request, max_json(state), state).await?)
            }
            ("image", _) | ("application", "octet-stream") => {
                Content::Image(body::read(request, state.config.max_image_bytes, state).await?)
            }
            _ => {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_type",
                    "send an image (Content-Type: image/jpeg, …), multipart/form-data with image files, or JSON {\"instances\": [{\"b64\": …}]}",
                ));
            }
        };
        Ok(Self { content, fields })
    }
}

async fn files(
    state: &App,
    request: Request,
    max_images: usize,
    fields: &mut Fields,
) -> Result<Vec<(String, Bytes)>, Problem> {
    let max = state.config.max_image_bytes;
    let mut form = Parts::from_request(request, max.saturating_mul(max_images as u64)).await?;
    let mut files = Vec::new();
    while let Some(part) = form.next().await? {
        let Some(part) = fields.take_field(part).await? else { continue };
        if files.len() == max_images {
            return Err(too_many_images(max_images));
        }
        let name = part.name();
        let bytes = read(state, part, max).await.map_err(|it| it.with("index", files.len()))?;
        files.push((name, bytes));
    }
    Ok(files)
}

async fn read(state: &App, mut part: Part<'_>, max: u64) -> Result<Bytes, Problem> {
    let mut buffer = BodyBuffer::new(state);
    while let Some(chunk) = part.chunk().await? {
        if buffer.len() + chunk.len() as u64 > max {
            return Err(body::too_large(max));
        }
        buffer = buffer.push(chunk, state).await?;
    }
    buffer.finish().await
}

/// 413: more images than `most`.
#[must_use]
pub fn too_many_images(max_images: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_many_images",
        format!("at most {max_images} images are allowed per request"),
    )
}
