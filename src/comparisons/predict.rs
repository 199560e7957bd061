//! What a model predicts for the test images of a job: decoded and computed as for a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::sleep;

use super::{Comparisons, Error};
use crate::{
    blobs,
    domain::{
        ModelId,
        comparison::{TestPrediction, TestSplit},
        dataset::{Classes, Sample},
        model::ModelCard,
        objective::Logits,
        preprocessing::Preprocessing,
    },
    error_chain::chain,
    inference::{Engine, EngineError},
    vision,
};

/// Images of a forward pass: few, so that requests to the same model do not wait for long.
const BATCH: usize = 8;
/// How long to wait if the model has too many requests.
const PAUSE: Duration = Duration::from_millis(100);
/// Times that a pass may take longer than a prediction may.
const MAX_TIMEOUTS: u32 = 10;

impl Comparisons {
    /// The predictions of a model, in the order of the samples; `None` for images that are no longer
    /// stored. Counts in `done`.
    pub(super) async fn predict(
        &self,
        model: ModelId,
        split: &TestSplit,
        done: &AtomicU64,
    ) -> Result<Vec<Option<TestPrediction>>, Error> {
        let engine = self.0.registry.engine(Some(&model.to_string())).await?;
        let card = engine.card();
        let mut predictions = Vec::with_capacity(split.samples.len());
        for samples in split.samples.chunks(BATCH) {
            let mut pixels = Vec::with_capacity(samples.len());
            for sample in samples {
                pixels.push(self.decode(*sample, card.preprocessing).await?);
            }
            let images: Vec<_> = pixels.iter().flatten().cloned().collect();
            let mut outputs = match images.is_empty() {
                true => Vec::new(),
                false => outputs(&engine, images).await?,
            }
            .into_iter();
            for (sample, pixels) in samples.iter().zip(&pixels) {
                let logits = pixels.as_ref().and_then(|_| outputs.next());
                predictions.push(match logits {
                    Some(logits) => Some(prediction(&logits, card, &split.classes, sample)?),
                    None => None,
                });
            }
            done.fetch_add(samples.len() as u64, Relaxed);
        }
        Ok(predictions)
    }

    /// The pixels of an image; `None` if it is no longer stored.
    async fn decode(
        &self,
        sample: Sample,
        preprocessing: Preprocessing,
    ) -> Result<Option<Vec<u8>>, Error> {
        // As many images as there are processors are decoded at a time, requests' included.
        let permit = Arc::clone(&self.0.decoders).acquire_owned().await;
        let permit = permit.map_err(|_| Error::ShuttingDown)?;
        let (blobs, limits) = (self.0.data_dir.blobs(), self.0.limits);
        let memory = self.0.memory.clone();
        let decode = move || {
            let _permit = permit;
            let failed = |error: &(dyn std::error::Error + 'static)| {
                Error::Failed(format!("image {}: {}", sample.image_id, chain(error)))
            };
            let bytes = match blobs::read(&blobs, &sample.sha256) {
                Ok(bytes) => bytes,
                Err(blobs::Error::Damaged(_)) => return Ok(None),
                Err(error) => return Err(failed(&error)),
            };
            let needed = vision::decoding_memory(&bytes, &limits, Some(&preprocessing))
                .map_err(|error| failed(&error))?;
            let _memory = memory.wait_for_image(needed).map_err(|error| failed(&error))?;
            let pixels = vision::prepare(&bytes, &limits, &preprocessing);
            pixels.map(Some).map_err(|error| failed(&error))
        };
        tokio::task::spawn_blocking(decode)
            .await
            .map_err(|error| Error::Failed(error.to_string()))?
    }
}

/// The logits of images; waits while the model has too many requests.
async fn outputs(engine: &Engine, images: Vec<Vec<u8>>) -> Result<Vec<Logits>, Error> {
    let mut timeouts = 0;
    loop {
        match engine.predict(images.clone()).await {
            Ok(result) => return Ok(result.output.into_iter().map(|it| it.logits).collect()),
            Err(EngineError::QueueFull) => sleep(PAUSE).await,
            Err(EngineError::DeadlineExceeded(_)) if timeouts < MAX_TIMEOUTS => {
                timeouts += 1;
                sleep(PAUSE).await;
            }
            Err(error) => return Err(Error::Failed(error.to_string())),
        }
    }
}

/// The prediction of the model of that card for an image of these classes.
fn prediction(
    logits: &Logits,
    card: &ModelCard,
    classes: &Classes,
    sample: &Sample,
) -> Result<TestPrediction, Error> {
    let scaled = logits.scaled(card.scale());
    let predicted = logits.predicted();
    let theirs = |class: usize| card.classes.name(class);
    let found = || {
        let class = classes.index_of(theirs(predicted)?)?;
        let label = card.classes.index_of(classes.name(sample.label)?)?;
        let probability = *scaled.probabilities().get(predicted)?;
        let loss = scaled.loss(label);
        (loss.is_finite() && probability.is_finite()).then_some(TestPrediction {
            class,
            probability,
            loss,
        })
    };
    found().ok_or_else(|| {
        Error::Failed("it has other outputs than classes, or infinite ones".to_owned())
    })
}
