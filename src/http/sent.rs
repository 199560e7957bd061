//! The body of a prediction request, read whole before a model is looked up.
//!
//! A client may send slowly, and a form may name its model after the photos. So no place in the
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

/// A body of JSON has at most so many times the bytes of one image.
const MAX_JSON_IMAGES: u64 = 4;

/// The body of a request, and what its form says beside it.
#[derive(Debug)]
pub struct Sent {
    /// The photos, or what holds them.
    pub content: Content,
    /// The form's text fields; none where the body is no form.
    pub fields: Fields,
}

/// Photos as they came.
#[derive(Debug)]
pub enum Content {
    /// A single one.
    Image(Bytes),
    /// The files of a form, each with its name.
    Files(Vec<(String, Bytes)>),
    /// JSON that holds some.
    Json(Bytes),
}

/// Bytes of a body of JSON that holds photos, at most.
#[must_use]
pub fn max_json(state: &App) -> u64 {
    state.config.max_image_bytes.saturating_mul(MAX_JSON_IMAGES)
}

impl Sent {
    /// Reads a body of any of the three forms that `POST /predict` takes, with `most` photos in a
    /// form and the text fields `known`.
    ///
    /// # Errors
    /// A body of another form, or one that is malformed or too large.
    pub async fn read(
        state: &App,
        request: Request,
        most: usize,
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
                Content::Files(files(state, request, most, &mut fields).await?)
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
    most: usize,
    fields: &mut Fields,
) -> Result<Vec<(String, Bytes)>, Problem> {
    let max = state.config.max_image_bytes;
    let mut form = Parts::of(request, max.saturating_mul(most as u64)).await?;
    let mut files = Vec::new();
    while let Some(part) = form.next().await? {
        let Some(part) = fields.sift(part).await? else { continue };
        if files.len() == most {
            return Err(too_many(most));
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

/// 413: more photos than `most`.
#[must_use]
pub fn too_many(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_many_images",
        format!("at most {most} images can be judged in one request"),
    )
}
