//! Shared code of the two VGG16 recipes: the pretrained base, its features, and a head on them.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::PreparedJob;
use crate::{
    architectures::vgg16::{Base, FEATURES, Head},
    device::ComputeConfig,
    domain::{
        dataset::Sample,
        model::{Architecture, Preprocessing, Pretrained},
    },
    training::{
        failure::{Failure, StopReason},
        features,
        finish::TrainedNetwork,
        record_store::RecordStore,
        spec::{BASE, Job},
        trainable::Trainable,
    },
    weights::{
        tensors::{self, Tensors},
        vgg16,
    },
};

/// Dropout rate of the hidden layer.
pub(super) const DROPOUT: f64 = 0.5;

/// The initial weights of a job, from its folder.
pub(super) struct BaseWeights {
    /// Their original values: frozen layers go into the model unchanged.
    tensors: Tensors,
    pretrained: Pretrained,
    pub(super) preprocessing: Preprocessing,
}

impl BaseWeights {
    pub(super) fn load(job: &Job) -> Result<Self, StopReason> {
        let path = job.folder.join(BASE);
        let bad = |reason: String| {
            Failure::new("bad_job", format!("can't read the job's VGG16 weights: {reason}"))
        };
        let info = vgg16::info(&path).map_err(|error| bad(error.to_string()))?;
        let (_, tensors) = tensors::load(&path).map_err(|error| bad(error.to_string()))?;
        Ok(Self {
            tensors,
            pretrained: Pretrained { origin: info.origin, sha256: info.source_sha256 },
            preprocessing: Preprocessing::at_180(info.preprocessing.into()),
        })
    }

    pub(super) fn base(&self, compute: ComputeConfig) -> Result<Base, StopReason> {
        let mut tensors = tensors::share(&self.tensors);
        Base::take_from(&mut tensors, compute.device).map_err(|reason| {
            Failure::new("bad_job", format!("invalid VGG16 weights of the job: {reason}")).into()
        })
    }

    /// The features of `samples` under `base`, computed once.
    pub(super) fn features(
        &self,
        prepared: &PreparedJob<'_>,
        base: &Base,
        samples: &[Sample],
    ) -> Result<RecordStore, StopReason> {
        let layout = self.layout(prepared, "block5", &[FEATURES]);
        prepared.extract(layout, samples, |batch| base.features(&prepared.inputs.plain(batch)))
    }

    /// The layout of a layer's features in the cache.
    pub(super) fn layout(
        &self,
        prepared: &PreparedJob<'_>,
        layer: &str,
        shape: &[i64],
    ) -> crate::training::cache::Layout {
        let weights = &self.pretrained.sha256;
        features::layout("vgg16", weights, layer, shape, &prepared.preprocessing, prepared.compute)
    }

    /// The whole network: these weights but for those that were trained.
    pub(super) fn into_network(
        self,
        trained: Tensors,
        preprocessing: Preprocessing,
    ) -> TrainedNetwork {
        let mut tensors = self.tensors;
        tensors.extend(trained);
        TrainedNetwork {
            architecture: Architecture::Vgg16,
            tensors,
            preprocessing,
            pretrained: Some(self.pretrained),
        }
    }
}

/// A head in training on fixed features.
pub(super) struct FeatureHead<'a> {
    pub(super) head: &'a Head,
    pub(super) features: &'a RecordStore,
}

impl Trainable for FeatureHead<'_> {
    fn weights(&self) -> Tensors {
        self.head.tensors()
    }

    fn training_logits(&self, batch: &[Sample], _: &mut ChaCha8Rng) -> Tensor {
        self.head.forward(&self.gather(batch), DROPOUT)
    }

    fn predict_logits(&self, batch: &[Sample]) -> Tensor {
        self.head.forward(&self.gather(batch), 0.0)
    }
}

impl FeatureHead<'_> {
    fn gather(&self, batch: &[Sample]) -> Tensor {
        self.features.gather(batch).to_kind(tch::Kind::Float)
    }
}
