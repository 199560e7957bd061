//! A base network under its head.

use tch::{Device, Kind, Tensor};

use super::{BaseNetwork, Head};
use crate::{domain::base::Base, weights::tensors::Tensors};

/// The whole network.
#[derive(Debug)]
pub struct Classifier {
    base: BaseNetwork,
    head: Head,
}

impl Classifier {
    /// The network of these tensors, by the names that [`Classifier::tensors`] gives them.
    ///
    /// # Errors
    /// A message that names the tensor that is missing, unexpected or of another shape.
    pub fn from_tensors(
        mut tensors: Tensors,
        base: &'static Base,
        outputs: usize,
        device: Device,
    ) -> Result<Self, String> {
        let network = BaseNetwork::take_from(&mut tensors, base, device)?;
        Ok(Self { base: network, head: Head::from_tensors(tensors, base, outputs, device)? })
    }

    /// Logits `[n, outputs]` for normalised images `[n, 3, side, side]`, fp32 or bf16.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        self.classify(&self.feature_maps(images))
    }

    /// The last maps `[n, channels, height, width]`, rectified, of normalised images
    /// `[n, 3, side, side]`, fp32 or bf16.
    pub fn feature_maps(&self, images: &Tensor) -> Tensor {
        self.base.feature_maps(images)
    }

    /// Logits `[n, outputs]` for the output of [`Classifier::feature_maps`].
    pub fn classify(&self, maps: &Tensor) -> Tensor {
        self.head.forward(&self.base.pool(maps))
    }

    /// Embeddings `[n, channels]` for the output of [`Classifier::feature_maps`].
    pub fn embeddings(&self, maps: &Tensor) -> Tensor {
        BaseNetwork::embeddings(self.base.base(), &self.base.pool(maps))
    }

    /// The same network for inference, its convolutions in `kind`.
    #[must_use]
    pub fn for_inference(&self, kind: Kind) -> Self {
        Self { base: self.base.for_inference(kind), head: self.head.frozen() }
    }

    /// The weights of base and head by name. They share the network's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut tensors = self.head.tensors();
        tensors.append(&mut self.base.tensors());
        tensors
    }
}
