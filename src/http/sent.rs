//! The body of a prediction request, read whole before a model is looked up.
//!
//! A client may send slowly, and a form may name its model after the images. So no slot of the
//! queue is held meanwhile, and images are kept encoded: in memory, and beyond a limit in temporary
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

/// A body of up to `max_image_bytes` times this is kept in memory; JSON bodies have the same limit.
const IN_MEMORY: u64 = 4;

/// The body of a request, and the text fields of its form.
#[derive(Debug)]
pub struct Sent {
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
    Files(Vec<(String, Encoded)>),
    /// JSON that contains images.
    Json(Bytes),
}

/// An encoded image.
#[derive(Debug)]
pub enum Encoded {
    /// In memory.
    Memory(Bytes),
    /// In a temporary file.
    File(TempPath),
}

impl Encoded {
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

/// Maximum bytes of a JSON body with images.
#[must_use]
pub fn max_json(state: &App) -> u64 {
    state.config.max_image_bytes.saturating_mul(IN_MEMORY)
}

impl Sent {
    /// Reads a body in any of the three formats of `POST /predict`, with at most `most` images in a
    /// form and the text fields `known`.
    ///
    /// # Errors
    /// A body in another format, or one that is malformed or too large.
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
    most: usize,
    fields: &mut Fields,
) -> Result<Vec<(String, Encoded)>, Problem> {
    let max = state.config.max_image_bytes;
    let mut form = Parts::of(request, max.saturating_mul(most as u64)).await?;
    let mut files = Vec::new();
    let mut room = max.saturating_mul(IN_MEMORY);
    while let Some(part) = form.next().await? {
        let Some(part) = fields.sift(part).await? else { continue };
        if files.len() == most {
            return Err(too_many(most));
        }
        let name = part.name();
        let file = if room >= max {
            let bytes = in_memory(part, max).await.map_err(|it| it.with("index", files.len()))?;
            room -= bytes.len() as u64;
            Encoded::Memory(bytes)
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

async fn spooled(state: &App, mut part: Part<'_>, max: u64) -> Result<Encoded, Problem> {
    let mut spool = state.datasets.spool().await?;
    while let Some(chunk) = part.chunk().await? {
        if spool.bytes() + chunk.len() as u64 > max {
            return Err(body::too_large(max));
        }
        spool = spool.push(chunk).await?;
    }
    Ok(Encoded::File(spool.finish().await?.path))
}

/// 413: more images than `most`.
#[must_use]
pub fn too_many(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_many_images",
        format!("at most {most} images are allowed per request"),
    )
}
