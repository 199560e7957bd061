//! The body of a prediction request, read whole before a model is looked up.
//!
//! A client may send slowly, and a form may name its model after the photos. So no place in the
//! queue is held meanwhile, and photos are kept encoded: in memory, and beyond a bound in temporary
//! files.

use axum::{body::Bytes, extract::Request, http::StatusCode};
use tempfile::TempPath;

use super::{
    body,
    fields::Fields,
    parts::{Part, Parts},
    problem::Problem,
    state::App,
};

/// A body of `max_image_bytes` times this is kept in memory; the same bounds one of JSON.
const IN_MEMORY: u64 = 4;

/// The body of a request, and what its form says beside it.
#[derive(Debug)]
pub struct RequestBody {
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
    Files(Vec<(String, EncodedImage)>),
    /// JSON that holds some.
    Json(Bytes),
}

/// An encoded photo.
#[derive(Debug)]
pub enum EncodedImage {
    /// In memory.
    Memory(Bytes),
    /// In a temporary file.
    File(TempPath),
}

impl EncodedImage {
    /// Its bytes.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn read(self) -> std::io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes),
            Self::File(path) => std::fs::read(path).map(Bytes::from),
        }
    }
}

/// Bytes of a body of JSON that holds photos, at most.
#[must_use]
pub fn max_json(state: &App) -> u64 {
    state.config.max_image_bytes.saturating_mul(IN_MEMORY)
}

impl RequestBody {
    /// Reads a body of any of the three forms that `POST /predict` takes, with `most` photos in a
    /// form and the text fields `known`.
    ///
    /// # Errors
    /// A body of another form, or one that is malformed or too large.
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
            ("application", "json") => Content::Json(body::read(request, max_json(state)).await?),
            ("image", _) | ("application", "octet-stream") => {
                Content::Image(body::read(request, state.config.max_image_bytes).await?)
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
) -> Result<Vec<(String, EncodedImage)>, Problem> {
    let max = state.config.max_image_bytes;
    let mut form = Parts::from_request(request, max.saturating_mul(max_images as u64)).await?;
    let mut files = Vec::new();
    let mut room = max.saturating_mul(IN_MEMORY);
    while let Some(part) = form.next().await? {
        let Some(part) = fields.take_field(part).await? else { continue };
        if files.len() == max_images {
            return Err(too_many_images(max_images));
        }
        let name = part.name();
        let file = if room >= max {
            let bytes = in_memory(part, max).await.map_err(|it| it.with("index", files.len()))?;
            room -= bytes.len() as u64;
            EncodedImage::Memory(bytes)
        } else {
            spooled(state, part, max).await.map_err(|it| it.with("index", files.len()))?
        };
        files.push((name, file));
    }
    Ok(files)
}

async fn in_memory(mut part: Part<'_>, max: u64) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > max {
            return Err(body::too_large(max));
        }
    }
    Ok(bytes.into())
}

async fn spooled(state: &App, mut part: Part<'_>, max: u64) -> Result<EncodedImage, Problem> {
    let mut spool = state.datasets.spool().await?;
    while let Some(chunk) = part.chunk().await? {
        if spool.bytes() + chunk.len() as u64 > max {
            return Err(body::too_large(max));
        }
        spool = spool.push(chunk).await?;
    }
    Ok(EncodedImage::File(spool.finish().await?.path))
}

/// 413: more photos than `most`.
#[must_use]
pub fn too_many_images(max_images: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_many_images",
        format!("at most {max_images} images can be judged in one request"),
    )
}
