//! Images of a prediction request: decoded and resized for a model, within the limits of the
//! settings. Used by every prediction endpoint.

use std::{sync::Arc, time::Duration};

use super::{
    body,
    error::unreadable,
    instances::Instances,
    problem::Problem,
    request_body::{Content, too_many_images},
    state::App,
};
use crate::{
    domain::preprocessing::Preprocessing, inference::EngineError, journal::RecordedImage,
    memory_budget::Reservation, vision,
};
use axum::{body::Bytes, http::StatusCode};
use futures::{StreamExt as _, stream::FuturesOrdered};
use image::RgbImage;
use memchr::memchr;
use tokio::time::{Instant, timeout_at};

/// Bytes that are held for each pixel of a picture: the picture, the map over it, and its PNG.
const PICTURE_BYTES: u64 = 9;

/// The images of a request, decoded and resized.
#[derive(Debug)]
pub struct RequestImages {
    /// The file name of each, if any.
    pub names: Vec<Option<String>>,
    /// The pixels of each, preprocessed as the model's card requires.
    pub pixels: Vec<Vec<u8>>,
    /// Each for display, if requested.
    pub pictures: Vec<RgbImage>,
    /// What is to be logged of each; empty if nothing is.
    pub recorded: Vec<RecordedImage>,
    /// Time spent, in milliseconds.
    pub decode_ms: f64,
    /// The memory of the pixels.
    _memory: Reservation,
}

/// An image of a request.
struct Decoded {
    name: Option<String>,
    pixels: Vec<u8>,
    picture: Option<RgbImage>,
    recorded: Option<RecordedImage>,
}

/// Decodes images, a few at a time, in order.
pub struct ImageDecoder<'a> {
    state: &'a App,
    preprocessing: Preprocessing,
    started: Instant,
    max_images: usize,
    max_side: Option<u32>,
    running: FuturesOrdered<futures::future::BoxFuture<'a, Result<Decoded, Problem>>>,
    /// For what is made of the body: copies of its JSON, and pixels.
    memory: Reservation,
    count: usize,
}

impl<'a> ImageDecoder<'a> {
    /// An empty request whose images will be preprocessed by `preprocessing`.
    #[must_use]
    pub fn new(state: &'a App, preprocessing: Preprocessing) -> Self {
        Self {
            state,
            preprocessing,
            started: Instant::now(),
            max_images: state.config.max_predict_images.get(),
            max_side: None,
            running: FuturesOrdered::new(),
            memory: state.memory.request(),
            count: 0,
        }
    }

    /// A single image, which is also kept for display, with no side longer than `longest`.
    #[must_use]
    pub fn with_picture(self, longest: u32) -> Self {
        Self { max_images: 1, max_side: Some(longest), ..self }
    }

    /// The images of a request body; `name` is that of the only one.
    ///
    /// # Errors
    /// No image, too many, one that is too large or can't be decoded, or a name for several.
    pub async fn decode(
        mut self,
        content: Content,
        name: Option<String>,
    ) -> Result<RequestImages, Problem> {
        match content {
            Content::Image(bytes) => self.push(None, bytes).await?,
            Content::Files(files) => {
                for (name, file) in files {
                    self.push(Some(name), file).await?;
                }
            }
            Content::Json(body) => {
                self.reserve_copies(&body)?;
                let Instances { instances } = body::json(&body)?;
                for (index, instance) in instances.iter().enumerate() {
                    self.push_copy(instance.bytes(index)?).await?;
                }
            }
        }
        if name.is_some() && self.count > 1 {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_value",
                format!(
                    "`name` is only allowed for a single image; the request contains {}",
                    self.count
                ),
            )
            .with("field", "name"));
        }
        let mut photos = self.finish().await?;
        if name.is_some() {
            photos.names = vec![name];
        }
        Ok(photos)
    }

    /// Reserves memory for the strings of a body of JSON, where its escapes make copies of them
    /// necessary.
    ///
    /// # Errors
    /// 413, 429: there is none.
    pub fn reserve_copies(&mut self, body: &[u8]) -> Result<(), Problem> {
        match memchr(b'\\', body) {
            Some(_) => Ok(self.memory.grow(body.len() as u64)?),
            None => Ok(()),
        }
    }

    /// As [`Self::push`], for bytes that are a copy of a part of the body.
    ///
    /// # Errors
    /// As [`Self::push`], or there is no memory for them.
    pub async fn push_copy(&mut self, bytes: Bytes) -> Result<(), Problem> {
        let mut memory = self.state.memory.request();
        memory.grow(bytes.len() as u64)?;
        self.push(None, memory.attach(bytes)).await
    }

    /// Starts decoding one image, waiting for a free slot first.
    ///
    /// # Errors
    /// One image too many, or one that is too large.
    pub async fn push(&mut self, name: Option<String>, bytes: Bytes) -> Result<(), Problem> {
        let limit = self.state.config.max_image_bytes;
        if bytes.len() as u64 > limit && self.count < self.max_images {
            return Err(body::too_large(limit).with("index", self.count));
        }
        let index = self.count;
        self.count += 1;
        if self.count > self.max_images {
            return Err(too_many_images(self.max_images));
        }
        let decoders = Arc::clone(&self.state.decoders);
        let deadline = Duration::from_secs(self.state.config.predict_seconds.get().into());
        let permit = timeout_at(self.started + deadline, decoders.acquire_owned())
            .await
            .map_err(|_| EngineError::DeadlineExceeded(deadline))?
            .map_err(|error| Problem::internal(&error))?;
        let picture = self.max_side.map_or(0, |side| u64::from(side).pow(2) * PICTURE_BYTES);
        self.memory.grow(self.preprocessing.bytes() as u64 + picture)?;
        let limits = vision::Limits { max_pixels: self.state.config.max_image_pixels };
        let (preprocessing, max_side) = (self.preprocessing, self.max_side);
        let memory = self.state.memory.clone();
        // An explanation is not logged: it is of an image that was predicted already.
        let journal = max_side.is_none().then(|| self.state.journal.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let shrunk = max_side.is_none().then_some(&preprocessing);
            let unreadable = |error| unreadable(&error, index, name.as_deref());
            let needed = vision::decoding_memory(&bytes, &limits, shrunk)
                .map_err(|error| unreadable(error.into()))?;
            let _memory = memory.wait_for_image(needed)?;
            let (pixels, picture) = match max_side {
                None => {
                    (vision::prepare(&bytes, &limits, &preprocessing).map_err(unreadable)?, None)
                }
                Some(longest) => {
                    vision::prepare_with_picture(&bytes, &limits, &preprocessing, longest)
                        .map(|(pixels, picture)| (pixels, Some(picture)))
                        .map_err(unreadable)?
                }
            };
            let recorded = journal.and_then(|journal| journal.image(&bytes));
            Ok(Decoded { name, pixels, picture, recorded })
        });
        self.running.push_back(Box::pin(async move {
            task.await.map_err(|error| Problem::internal(&error))?
        }));
        Ok(())
    }

    /// The images, in request order.
    ///
    /// # Errors
    /// There is none, or one can't be decoded.
    pub async fn finish(mut self) -> Result<RequestImages, Problem> {
        if self.count == 0 {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "no_image",
                "the request contains no images",
            ));
        }
        let mut images = RequestImages {
            names: Vec::new(),
            pixels: Vec::new(),
            pictures: Vec::new(),
            recorded: Vec::new(),
            decode_ms: 0.0,
            _memory: self.memory,
        };
        while let Some(decoded) = self.running.next().await {
            let Decoded { name, pixels, picture, recorded } = decoded?;
            images.names.push(name);
            images.pixels.push(pixels);
            images.pictures.extend(picture);
            images.recorded.extend(recorded);
        }
        images.decode_ms = self.started.elapsed().as_secs_f64() * 1e3;
        Ok(images)
    }
}
