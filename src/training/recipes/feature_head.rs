//! A head in training on fixed features.

use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use crate::{
    architectures::{BaseNetwork, Head},
    domain::{base::Base, dataset::Sample},
    training::{record_store::RecordStore, trainable::Trainable},
    weights::tensors::Tensors,
};

/// A head on fixed features.
pub(super) struct FeatureHead<'a> {
    pub(super) head: &'a Head,
    base: &'static Base,
    features: &'a RecordStore,
}

impl<'a> FeatureHead<'a> {
    pub(super) const fn new(
        base: &'static Base,
        head: &'a Head,
        features: &'a RecordStore,
    ) -> Self {
        Self { head, base, features }
    }

    /// Features `[n, features]`, fp32.
    pub(super) fn gather(&self, batch: &[Sample]) -> Tensor {
        self.features.gather(batch).to_kind(Kind::Float)
    }
}

impl Trainable for FeatureHead<'_> {
    fn weights(&self) -> Tensors {
        self.head.tensors()
    }

    fn training_logits(&self, batch: &[Sample], _: &mut ChaCha8Rng) -> Tensor {
        self.head.training_forward(&self.gather(batch))
    }

    fn predict_logits(&self, batch: &[Sample]) -> Tensor {
        self.head.forward(&self.gather(batch))
    }

    fn embeddings(&self, batch: &[Sample]) -> Option<Tensor> {
        Some(BaseNetwork::embeddings(self.base, &self.gather(batch)))
    }
}
