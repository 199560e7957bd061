//! A model in memory, checked and ready to be asked.

use std::path::Path;

use tch::{Device, Tensor};

use super::canary;
use crate::{
    architectures::{Network, normalise},
    domain::model::ModelCard,
    telemetry::chain,
    training::device::Compute,
    weights::{model_file, tensors},
};

/// Images of one forward pass: a batch of a few stays in the processor's cache.
const BATCH: usize = 8;

/// A model and its card. Belongs to one thread.
#[derive(Debug)]
pub struct Loaded {
    card: ModelCard,
    network: Network,
    compute: Compute,
}

/// Why a model can't be asked.
#[derive(Debug, thiserror::Error)]
#[error("the model can't be used: {0}")]
pub struct Unusable(pub String);

impl Loaded {
    /// Loads the model at `path` onto `compute` and replays its canary images.
    ///
    /// # Errors
    /// It can't be read, or its answers have drifted.
    pub fn open(path: &Path, compute: Compute) -> Result<Self, Unusable> {
        let (card, weights) = model_file::load(path).map_err(|error| Unusable(chain(&error)))?;
        let [_, _] = card.classes.names() else {
            return Err(Unusable("it has more than two classes".to_owned()));
        };
        let network = |weights, device| {
            Network::from_tensors(card.architecture, weights, device).map_err(Unusable)
        };
        let judge = network(tensors::share(&weights), Device::Cpu)?;
        let now = canary::logits(&judge, &card.preprocessing).map_err(Unusable)?;
        canary::compare(&card.canaries, &now).map_err(Unusable)?;
        let network =
            if compute.device == Device::Cpu { judge } else { network(weights, compute.device)? };
        Ok(Self { card, network, compute })
    }

    /// Where the model comes from and how to ask it.
    #[must_use]
    pub const fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Logits of images that are resized already: RGB bytes `[n, height, width, 3]` in `pixels`.
    ///
    /// # Errors
    /// libtorch's own, as on too little memory.
    pub fn logits(&self, pixels: &[Vec<u8>]) -> Result<Vec<f64>, tch::TchError> {
        let (height, width) =
            (i64::from(self.card.preprocessing.height), i64::from(self.card.preprocessing.width));
        let _no_grad = tch::no_grad_guard();
        let mut logits = Vec::with_capacity(pixels.len());
        for batch in pixels.chunks(BATCH) {
            let images = batch
                .iter()
                .map(|image| Tensor::f_from_data_size(image, &[height, width, 3], tch::Kind::Uint8))
                .collect::<Result<Vec<_>, _>>()?;
            let images = Tensor::f_stack(&images, 0)?.f_to_device(self.compute.device)?;
            let batch = self.network.forward(&normalise(
                &images,
                self.card.preprocessing.normalise,
                self.compute.kind(),
            ));
            logits.extend(Vec::<f64>::try_from(batch.to_kind(tch::Kind::Double))?);
        }
        Ok(logits)
    }
}
