//! `…_features`: a new head on features of a frozen base network, computed once per image.

use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use super::{base::BaseJob, regression::Regression};
use crate::{
    architectures::Head,
    domain::{base::Base, dataset::Sample},
    training::{
        control::Control, events::Events, failure::StopReason, learner::Stage,
        record_store::RecordStore, spec::Job, trainable::Trainable,
    },
    weights::tensors::Tensors,
};

pub(super) fn train(
    base: &'static Base,
    job: &Job,
    control: &Control,
    events: &Events,
) -> Result<(), StopReason> {
    let job = BaseJob::new(base, job, control, events)?;
    let features = job.features(&job.prepared.job.samples)?;
    let head = Head::new(base, job.prepared.job.spec.params.seed, job.prepared.compute.device);
    let recipe = on_features(&job, &head, &features);
    let result = job.prepared.fit(Stage::Main, &*recipe)?;
    job.prepared.finish(&*recipe, result, job.trained_network(head.tensors()))
}

/// A head in training on fixed features: logistic regression if it has no hidden units.
pub(super) fn on_features<'a>(
    job: &'a BaseJob<'_>,
    head: &'a Head,
    features: &'a RecordStore,
) -> Box<dyn Trainable + 'a> {
    let head = FeatureHead { head, features };
    match job.base.head.hidden {
        Some(_) => Box::new(head),
        None => Box::new(Regression::new(head, &job.prepared.train, job.prepared.compute)),
    }
}

/// A head on fixed features.
pub(super) struct FeatureHead<'a> {
    pub(super) head: &'a Head,
    features: &'a RecordStore,
}

impl FeatureHead<'_> {
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
}
