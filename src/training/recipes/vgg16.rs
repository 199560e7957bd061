//! What the two VGG16 recipes share: the base that others trained, its features, and a head
//! over them.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::Prepared;
use crate::{
    architectures::vgg16::{Base, FEATURES, Head},
    device::Compute,
    domain::{
        dataset::Sample,
        model::{Architecture, Normalise, Preprocessing, Pretrained},
    },
    training::{
        failure::{End, Failure},
        features,
        finish::Made,
        learnable::Learnable,
        spec::{BASE, Job},
        store::Store,
    },
    weights::{
        tensors::{self, Tensors},
        vgg16,
    },
};

/// Share of the hidden values that training drops.
pub(super) const DROPOUT: f64 = 0.5;

/// The weights that a job begins with, as they lie in its folder.
pub(super) struct Given {
    /// Their numbers as they came: what stays frozen goes into the model unchanged.
    tensors: Tensors,
    pretrained: Pretrained,
    pub(super) normalise: Normalise,
}

impl Given {
    pub(super) fn load(job: &Job) -> Result<Self, End> {
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

    pub(super) fn base(&self, compute: Compute) -> Result<Base, End> {
        let mut tensors = tensors::share(&self.tensors);
        Base::take_from(&mut tensors, compute.device).map_err(|reason| {
            Failure::new("bad_job", format!("the job's VGG16 weights: {reason}")).into()
        })
    }

    /// The features of `samples` under `base`, computed once.
    pub(super) fn features(
        &self,
        prepared: &Prepared<'_>,
        base: &Base,
        samples: &[Sample],
    ) -> Result<Store, End> {
        let layout = self.layout(prepared, "block5", &[FEATURES]);
        prepared.extract(layout, samples, |batch| base.features(&prepared.photos.plain(batch)))
    }

    /// How what a layer makes of the photos is kept.
    pub(super) fn layout(
        &self,
        prepared: &Prepared<'_>,
        layer: &str,
        shape: &[i64],
    ) -> crate::training::cache::Layout {
        let weights = &self.pretrained.sha256;
        features::layout(weights, layer, shape, &prepared.preprocessing, prepared.compute)
    }

    /// The whole network: these weights but for those that were trained.
    pub(super) fn made(self, trained: Tensors, preprocessing: Preprocessing) -> Made {
        let mut tensors = self.tensors;
        tensors.extend(trained);
        Made {
            architecture: Architecture::Vgg16,
            tensors,
            preprocessing,
            pretrained: Some(self.pretrained),
        }
    }
}

/// A head in training over features that don't change.
pub(super) struct OverFeatures<'a> {
    pub(super) head: &'a Head,
    pub(super) features: &'a Store,
}

impl Learnable for OverFeatures<'_> {
    fn weights(&self) -> Tensors {
        self.head.tensors()
    }

    fn train(&self, batch: &[Sample], _: &mut ChaCha8Rng) -> Tensor {
        self.head.forward(&self.gather(batch), DROPOUT)
    }

    fn judge(&self, batch: &[Sample]) -> Tensor {
        self.head.forward(&self.gather(batch), 0.0)
    }
}

impl OverFeatures<'_> {
    fn gather(&self, batch: &[Sample]) -> Tensor {
        self.features.gather(batch).to_kind(tch::Kind::Float)
    }
}
