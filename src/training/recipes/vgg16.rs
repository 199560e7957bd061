//! What the two VGG16 recipes share: the base that others trained, its features, and a head
//! over them.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::PreparedJob;
use crate::{
    architectures::vgg16::{Base, FEATURES, Head},
    device::ComputeConfig,
    domain::{
        dataset::Sample,
        model::{Architecture, Normalization, Preprocessing, Pretrained},
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

/// Share of the hidden values that training drops.
pub(super) const DROPOUT: f64 = 0.5;

/// The weights that a job begins with, as they lie in its folder.
pub(super) struct BaseWeights {
    /// Their numbers as they came: what stays frozen goes into the model unchanged.
    tensors: Tensors,
    pretrained: Pretrained,
    pub(super) normalise: Normalization,
}

impl BaseWeights {
    pub(super) fn load(job: &Job) -> Result<Self, StopReason> {
        let path = job.folder.join(BASE);
        let bad = |reason: String| {
            Failure::new("bad_job", format!("the job's VGG16 weights can't be read: {reason}"))
        };
        let info = vgg16::info(&path).map_err(|error| bad(error.to_string()))?;
        let (_, tensors) = tensors::load(&path).map_err(|error| bad(error.to_string()))?;
        Ok(Self {
            tensors,
            pretrained: Pretrained { origin: info.origin, sha256: info.source_sha256 },
            normalise: info.preprocessing.into(),
        })
    }

    pub(super) fn base(&self, compute: ComputeConfig) -> Result<Base, StopReason> {
        let mut tensors = tensors::share(&self.tensors);
        Base::take_from(&mut tensors, compute.device).map_err(|reason| {
            Failure::new("bad_job", format!("the job's VGG16 weights: {reason}")).into()
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

    /// How what a layer makes of the photos is kept.
    pub(super) fn layout(
        &self,
        prepared: &PreparedJob<'_>,
        layer: &str,
        shape: &[i64],
    ) -> crate::training::cache::Layout {
        let weights = &self.pretrained.sha256;
        features::layout(weights, layer, shape, &prepared.preprocessing, prepared.compute)
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

/// A head in training over features that don't change.
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
