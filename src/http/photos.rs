//! Photos on their way from a request to a model: decoded and resized, within the limits of the
//! settings. Used by every endpoint that asks a model.

use std::{sync::Arc, time::Instant};

use super::{
    body,
    error::unreadable,
    instances::Instances,
    problem::Problem,
    sent::{Content, EncodedImage, too_many_images},
    state::App,
};
use crate::{domain::model::Preprocessing, vision};
use axum::{body::Bytes, http::StatusCode};
use futures::{StreamExt as _, stream::FuturesOrdered};
use image::RgbImage;

/// The photos of a request, decoded and resized.
#[derive(Debug)]
pub struct RequestImages {
    /// The name that each came under, if any.
    pub names: Vec<Option<String>>,
    /// The pixels of each, as the model's card wants them.
    pub pixels: Vec<Vec<u8>>,
    /// Each as people look at it, where that was asked for.
    pub pictures: Vec<RgbImage>,
    /// How long that took, in milliseconds.
    pub decode_ms: f64,
}

type Decoded = Result<(Option<String>, Vec<u8>, Option<RgbImage>), Problem>;

/// Photos on their way through decoding, a few at a time, in their order.
pub struct ImageDecoder<'a> {
    state: &'a App,
    preprocessing: Preprocessing,
    started: Instant,
    max_images: usize,
    max_side: Option<u32>,
    running: FuturesOrdered<futures::future::BoxFuture<'a, Decoded>>,
    count: usize,
}

impl<'a> ImageDecoder<'a> {
    /// None yet, to become what `preprocessing` says.
    #[must_use]
    pub fn new(state: &'a App, preprocessing: Preprocessing) -> Self {
        Self {
            state,
            preprocessing,
            started: Instant::now(),
            max_images: state.config.max_predict_images.get(),
            max_side: None,
            running: FuturesOrdered::new(),
            count: 0,
        }
    }

    /// A single one, and its picture, no side of which is longer than `longest`.
    #[must_use]
    pub fn with_picture(self, longest: u32) -> Self {
        Self { max_images: 1, max_side: Some(longest), ..self }
    }

    /// The photos of what a client sent; `name` is that of the only one.
    ///
    /// # Errors
    /// None, too many, one that is too large or no image, or a name for several.
    pub async fn decode(
        mut self,
        content: Content,
        name: Option<String>,
    ) -> Result<RequestImages, Problem> {
        match content {
            Content::Image(bytes) => self.push(None, bytes).await?,
            Content::Files(files) => {
                for (name, file) in files {
                    self.push_encoded(Some(name), file).await?;
                }
            }
            Content::Json(body) => {
                let Instances { instances } = body::json(&body)?;
                for (index, instance) in instances.iter().enumerate() {
                    self.push(None, instance.bytes(index)?).await?;
                }
            }
        }
        if name.is_some() && self.count > 1 {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_value",
                format!("`name` names a single photo; there are {}", self.count),
            )
            .with("field", "name"));
        }
        let mut photos = self.finish().await?;
        if name.is_some() {
            photos.names = vec![name];
        }
        Ok(photos)
    }

    /// Starts decoding one photo, waiting for a free place first.
    ///
    /// # Errors
    /// One photo too many, or more bytes than one may have.
    pub async fn push(&mut self, name: Option<String>, bytes: Bytes) -> Result<(), Problem> {
        let limit = self.state.config.max_image_bytes;
        if bytes.len() as u64 > limit && self.count < self.max_images {
            return Err(body::too_large(limit).with("index", self.count));
        }
        self.push_encoded(name, EncodedImage::Memory(bytes)).await
    }

    async fn push_encoded(
        &mut self,
        name: Option<String>,
        file: EncodedImage,
    ) -> Result<(), Problem> {
        let index = self.count;
        self.count += 1;
        if self.count > self.max_images {
            return Err(too_many_images(self.max_images));
        }
        let decoders = Arc::clone(&self.state.decoders);
        let permit = decoders.acquire_owned().await.map_err(|error| Problem::internal(&error))?;
        let limits = vision::Limits { max_pixels: self.state.config.max_image_pixels };
        let (preprocessing, longest) = (self.preprocessing, self.max_side);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let bytes = file.read()?;
            Ok::<_, std::io::Error>(match longest {
                None => vision::prepare(&bytes, &limits, &preprocessing).map(|it| (it, None)),
                Some(longest) => {
                    vision::prepare_with_picture(&bytes, &limits, &preprocessing, longest)
                        .map(|(pixels, picture)| (pixels, Some(picture)))
                }
            })
        });
        self.running.push_back(Box::pin(async move {
            let prepared = task.await.map_err(|error| Problem::internal(&error))?;
            match prepared.map_err(|error| Problem::internal(&error))? {
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
    pub async fn finish(mut self) -> Result<RequestImages, Problem> {
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
        let decode_ms = self.started.elapsed().as_secs_f64() * 1e3;
        Ok(RequestImages { names, pixels, pictures, decode_ms })
    }
}
