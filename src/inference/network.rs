//! A model in memory, checked and ready for inference.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::{
    convolutions::{Convolutions, OwnPasses},
    gradcam,
};
use crate::{
    architectures::{Network, logit_rows, normalise},
    device::ComputeConfig,
    domain::{model::ModelCard, objective::Objective, prediction::ModelOutput, recipe::Precision},
    error_chain::chain,
    model_file::{self, canary},
    neighbours::Neighbours,
    weights::tensors::{self, Tensors},
};

/// Largest side of a network's input, in pixels: a damaged model card must not exhaust the memory.
const MAX_SIDE: u32 = 1024;

/// A model and its card. Belongs to one thread.
#[derive(Debug)]
pub struct LoadedModel {
    card: ModelCard,
    network: Network,
    neighbours: Option<Neighbours>,
    compute: ComputeConfig,
    convolutions: Convolutions,
    own_passes: OwnPasses,
}

/// Why a model can't be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the model can't be used: {0}")]
pub struct ModelLoadError(pub String);

impl LoadedModel {
    /// Loads the model at `path` onto `compute` and replays its canary images.
    ///
    /// # Errors
    /// It can't be read, or its outputs have drifted.
    pub fn open(path: &Path, compute: ComputeConfig) -> Result<Self, ModelLoadError> {
        let (card, weights) =
            model_file::load(path).map_err(|error| ModelLoadError(chain(&error)))?;
        Self::check(card, weights, compute)
    }

    fn check(
        card: ModelCard,
        mut weights: Tensors,
        compute: ComputeConfig,
    ) -> Result<Self, ModelLoadError> {
        let neighbours = Neighbours::take_from(&mut weights, &card, compute.device);
        let neighbours = neighbours.map_err(ModelLoadError)?;
        let (width, height) = (card.preprocessing.width, card.preprocessing.height);
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(ModelLoadError(format!(
                "its input size is {width}×{height} px; each side must be 1 to {MAX_SIDE} px"
            )));
        }
        if !(card.scale().is_finite() && card.scale() > 0.0) {
            let temperature = card.temperature.unwrap_or_default();
            return Err(ModelLoadError(format!("its temperature is {temperature}")));
        }
        let objective = Objective::of(&card.classes);
        let network = |weights, device| {
            Network::from_tensors(card.architecture, objective, weights, device)
                .map_err(ModelLoadError)
        };
        let on_cpu = network(tensors::share(&weights), Device::Cpu)?;
        let now = canary::logits(&on_cpu, &card.preprocessing).map_err(ModelLoadError)?;
        canary::compare(&card.canaries, &now).map_err(ModelLoadError)?;
        let network =
            if compute.device == Device::Cpu { on_cpu } else { network(weights, compute.device)? };
        Ok(Self {
            network: network.for_inference(compute.kind()),
            neighbours,
            card,
            compute,
            convolutions: Convolutions::default(),
            own_passes: OwnPasses::default(),
        })
    }

    /// The same model for another thread; the weights are shared.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            card: self.card.clone(),
            network: self.network.for_inference(self.compute.kind()),
            neighbours: self.neighbours.as_ref().map(Neighbours::share),
            compute: self.compute,
            convolutions: self.convolutions.clone(),
            own_passes: OwnPasses::default(),
        }
    }

    /// The card of the model.
    #[must_use]
    pub const fn card(&self) -> &ModelCard {
        &self.card
    }

    /// How precise the convolutions are.
    pub(super) const fn precision(&self) -> Precision {
        self.compute.precision
    }

    /// The convolutions, if OpenVINO computes them.
    pub(super) const fn convolutions(&self) -> &Convolutions {
        &self.convolutions
    }

    /// The outputs for resized images, in one forward pass: RGB bytes `[height, width, 3]` each.
    ///
    /// # Errors
    /// Those of libtorch, such as out of memory.
    pub fn forward(&self, images: &[Vec<u8>]) -> Result<Vec<ModelOutput>, tch::TchError> {
        self.outputs(&self.feature_maps(images)?)
    }

    /// The feature maps of resized images, `[n, channels, height, width]`.
    fn feature_maps(&self, images: &[impl AsRef<[u8]>]) -> Result<Tensor, tch::TchError> {
        if let Some(maps) = self.convolutions.feature_maps(&self.own_passes, images) {
            return Ok(maps);
        }
        let input = self.input(images)?;
        Ok(tch::no_grad(|| self.network.feature_maps(&input)))
    }

    /// The outputs for images with these feature maps.
    ///
    /// # Errors
    /// Those of libtorch.
    pub(super) fn outputs(&self, maps: &Tensor) -> Result<Vec<ModelOutput>, tch::TchError> {
        let _no_grad = tch::no_grad_guard();
        let logits = logit_rows(&self.network.classify(maps))?;
        let distances = self.distances(maps)?;
        let outputs = logits.into_iter().enumerate();
        Ok(outputs
            .map(|(index, logits)| ModelOutput { logits, distance: distances.get(index).copied() })
            .collect())
    }

    /// The distance of each image with these maps to the training images; empty without any.
    fn distances(&self, maps: &Tensor) -> Result<Vec<f64>, tch::TchError> {
        match (&self.neighbours, self.network.embeddings(maps)) {
            (Some(neighbours), Some(embeddings)) => neighbours.distances(&embeddings),
            _ => Ok(Vec::new()),
        }
    }

    /// The output for one image, and the Grad-CAM heat map of the class of index `class`, or of its
    /// predicted class.
    ///
    /// # Errors
    /// As [`LoadedModel::forward`].
    pub fn explain(
        &self,
        image: &[u8],
        class: Option<usize>,
    ) -> Result<(ModelOutput, gradcam::Heatmap), tch::TchError> {
        let maps = self.feature_maps(&[image])?;
        let distance = self.distances(&maps)?.pop();
        let (logits, heatmap) = gradcam::explain(&self.network, &maps, class)?;
        Ok((ModelOutput { logits, distance }, heatmap))
    }

    fn input(&self, images: &[impl AsRef<[u8]>]) -> Result<Tensor, tch::TchError> {
        let (height, width) =
            (i64::from(self.card.preprocessing.height), i64::from(self.card.preprocessing.width));
        let tensor =
            |image: &[u8]| Tensor::f_from_data_size(image, &[height, width, 3], Kind::Uint8);
        let pixels = if let [image] = images {
            tensor(image.as_ref())?.unsqueeze(0)
        } else {
            let images = images.iter().map(|image| tensor(image.as_ref()));
            Tensor::f_stack(&images.collect::<Result<Vec<_>, _>>()?, 0)?
        };
        let pixels = pixels.f_to_device(self.compute.device)?;
        Ok(normalise(&pixels, self.card.preprocessing.normalise, self.compute.kind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_with_an_excessive_input_size_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let shipped = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/default.safetensors"));
        let (card, weights) = model_file::load(shipped).unwrap();
        for (width, height) in [(0, 180), (180, 1025), (u32::MAX, 180), (60_000, 60_000)] {
            let mut card = card.clone();
            (card.preprocessing.width, card.preprocessing.height) = (width, height);
            model_file::save(&path, &card, &weights).unwrap();
            let error = LoadedModel::open(&path, ComputeConfig::cpu()).unwrap_err();
            assert!(error.to_string().contains("input size"), "{error}");
        }
    }

    #[test]
    fn a_card_with_an_impossible_temperature_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let shipped = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/default.safetensors"));
        let (mut card, weights) = model_file::load(shipped).unwrap();
        for temperature in [0.0, -1.0, -0.0, 1e-320] {
            card.temperature = Some(temperature);
            model_file::save(&path, &card, &weights).unwrap();
            let error = LoadedModel::open(&path, ComputeConfig::cpu()).unwrap_err();
            assert!(error.to_string().contains("temperature"), "{error}");
        }
    }
}
