//! Images of a prediction request: decoded and resized for a model, within the limits of the
//! settings. Used by every prediction endpoint.

use std::{sync::Arc, time::Instant};

use super::{
    body,
    error::unreadable,
    instances::Instances,
    problem::Problem,
    sent::{Content, Encoded, too_many},
    state::App,
};
use crate::{domain::model::Preprocessing, vision};
use axum::{body::Bytes, http::StatusCode};
use futures::{StreamExt as _, stream::FuturesOrdered};
use image::RgbImage;

/// The images of a request, decoded and resized.
#[derive(Debug)]
pub struct Photos {
    /// The file name of each, if any.
    pub names: Vec<Option<String>>,
    /// The pixels of each, preprocessed as the model's card requires.
    pub pixels: Vec<Vec<u8>>,
    /// Each for display, if requested.
    pub pictures: Vec<RgbImage>,
    /// Time spent, in milliseconds.
    pub decode_ms: f64,
}

type Decoded = Result<(Option<String>, Vec<u8>, Option<RgbImage>), Problem>;

/// Decodes images, a few at a time, in order.
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
    /// An empty request whose images will be preprocessed by `preprocessing`.
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

    /// A single image, which is also kept for display, with no side longer than `longest`.
    #[must_use]
    pub fn with_picture(self, longest: u32) -> Self {
        Self { most: 1, longest: Some(longest), ..self }
    }

    /// The images of a request body; `name` is that of the only one.
    ///
    /// # Errors
    /// No image, too many, one that is too large or can't be decoded, or a name for several.
    pub async fn take(mut self, content: Content, name: Option<String>) -> Result<Photos, Problem> {
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

    /// Starts decoding one image, waiting for a free slot first.
    ///
    /// # Errors
    /// One image too many, or one that is too large.
    pub async fn push(&mut self, name: Option<String>, bytes: Bytes) -> Result<(), Problem> {
        let limit = self.state.config.max_image_bytes;
        if bytes.len() as u64 > limit && self.count < self.most {
            return Err(body::too_large(limit).with("index", self.count));
        }
        self.push_encoded(name, Encoded::Memory(bytes)).await
    }

    async fn push_encoded(&mut self, name: Option<String>, file: Encoded) -> Result<(), Problem> {
        let index = self.count;
        self.count += 1;
        if self.count > self.most {
            return Err(too_many(self.most));
        }
        let decoders = Arc::clone(&self.state.decoders);
        let permit = decoders.acquire_owned().await.map_err(|error| Problem::internal(&error))?;
        let limits = vision::Limits { max_pixels: self.state.config.max_image_pixels };
        let (preprocessing, longest) = (self.preprocessing, self.longest);
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

    /// The images, in request order.
    ///
    /// # Errors
    /// There is none, or one can't be decoded.
    pub async fn finish(mut self) -> Result<Photos, Problem> {
        if self.count == 0 {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "no_image",
                "the request contains no images",
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
