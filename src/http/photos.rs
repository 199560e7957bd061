//! Photos on their way from a request to a model: read, decoded and resized, within the limits of
//! the settings. Used by every endpoint that asks a model.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Bytes,
    extract::Request,
    http::{StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::{StreamExt as _, stream::FuturesOrdered};
use image::RgbImage;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{body, error::unreadable, parts::Parts, problem::Problem, state::App};
use crate::{domain::model::Preprocessing, vision};

/// The photos of a request, decoded and resized.
#[derive(Debug)]
pub struct Photos {
    /// The name that each came under, if any.
    pub names: Vec<Option<String>>,
    /// The pixels of each, as the model's card wants them.
    pub pixels: Vec<Vec<u8>>,
    /// Each as people look at it, where that was asked for.
    pub pictures: Vec<RgbImage>,
    /// How long that took, in milliseconds.
    pub decode_ms: f64,
}

/// Images as JSON.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Instances {
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
    /// The photos of a body of any of the three forms that `POST /predict` takes.
    ///
    /// # Errors
    /// A body of another form, none, too many or too large, or one that is no image.
    pub async fn read(
        state: &App,
        preprocessing: Preprocessing,
        request: Request,
    ) -> Result<Self, Problem> {
        Decoding::new(state, preprocessing).read(request).await
    }
}

type Decoded = Result<(Option<String>, Vec<u8>, Option<RgbImage>), Problem>;

/// Photos on their way through decoding, a few at a time, in their order.
pub struct Decoding<'a> {
    state: &'a App,
    preprocessing: Preprocessing,
    begun: Instant,
    most: usize,
    longest: Option<u32>,
    running: FuturesOrdered<futures::future::BoxFuture<'a, Decoded>>,
    count: usize,
}

impl<'a> Decoding<'a> {
    /// None yet, to become what `preprocessing` says.
    #[must_use]
    pub fn new(state: &'a App, preprocessing: Preprocessing) -> Self {
        Self {
            state,
            preprocessing,
            begun: Instant::now(),
            most: state.config.max_predict_images.get(),
            longest: None,
            running: FuturesOrdered::new(),
            count: 0,
        }
    }

    /// A single one, and its picture, no side of which is longer than `longest`.
    #[must_use]
    pub fn with_picture(self, longest: u32) -> Self {
        Self { most: 1, longest: Some(longest), ..self }
    }

    /// The photos of a body of any of the three forms that `POST /predict` takes.
    ///
    /// # Errors
    /// As [`Photos::read`].
    pub async fn read(mut self, request: Request) -> Result<Photos, Problem> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse::<mime::Mime>().ok());
        let (kind, subtype) =
            content_type.as_ref().map_or(("application", "octet-stream"), |mime| {
                (mime.type_().as_str(), mime.subtype().as_str())
            });
        match (kind, subtype) {
            ("multipart", "form-data") => self.multipart(request).await?,
            ("application", "json") => self.json(request).await?,
            ("image", _) | ("application", "octet-stream") => {
                let bytes = body::read(request, self.state.config.max_image_bytes).await?;
                self.push(None, bytes).await?;
            }
            _ => {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_type",
                    "send an image (Content-Type: image/jpeg, …), multipart/form-data with image files, or JSON {\"instances\": [{\"b64\": …}]}",
                ));
            }
        }
        self.finish().await
    }
    async fn multipart(&mut self, request: Request) -> Result<(), Problem> {
        let config = &self.state.config;
        let most = config.max_image_bytes.saturating_mul(self.most as u64);
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
        let Instances { instances } = body::json(&body)?;
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
    ///
    /// # Errors
    /// One photo too many, or more bytes than one may have.
    pub async fn push(&mut self, name: Option<String>, bytes: Bytes) -> Result<(), Problem> {
        let index = self.count;
        self.count += 1;
        if self.count > self.most {
            return Err(too_many(self.most));
        }
        let limit = self.state.config.max_image_bytes;
        if bytes.len() as u64 > limit {
            return Err(body::too_large(limit).with("index", index));
        }
        let decoders = Arc::clone(&self.state.decoders);
        let permit = decoders.acquire_owned().await.map_err(|error| Problem::internal(&error))?;
        let limits = vision::Limits { max_pixels: self.state.config.max_image_pixels };
        let (preprocessing, longest) = (self.preprocessing, self.longest);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let Some(longest) = longest else {
                return Ok((vision::prepare(&bytes, &limits, &preprocessing)?, None));
            };
            vision::prepare_with_picture(&bytes, &limits, &preprocessing, longest)
                .map(|(pixels, picture)| (pixels, Some(picture)))
        });
        self.running.push_back(Box::pin(async move {
            let prepared = task.await.map_err(|error| Problem::internal(&error))?;
            match prepared {
                Ok((pixels, picture)) => Ok((name, pixels, picture)),
                Err(error) => Err(unreadable(&error, index, name.as_deref())),
            }
        }));
        Ok(())
    }

    /// The photos, in the order of their coming.
    ///
    /// # Errors
    /// There is none, or one that is no image.
    pub async fn finish(mut self) -> Result<Photos, Problem> {
        if self.count == 0 {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "no_image",
                "the request has no image",
            ));
        }
        let (mut names, mut pixels, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(photo) = self.running.next().await {
            let (name, photo, picture) = photo?;
            names.push(name);
            pixels.push(photo);
            pictures.extend(picture);
        }
        let decode_ms = self.begun.elapsed().as_secs_f64() * 1e3;
        Ok(Photos { names, pixels, pictures, decode_ms })
    }
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
