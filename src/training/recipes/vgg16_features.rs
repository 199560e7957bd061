//! `vgg16_features`: a new head on features of a frozen VGG16, computed once per image.

use super::{
    PreparedJob,
    vgg16::{BaseWeights, FeatureHead},
};
use crate::{
    architectures::vgg16::Head,
    training::{control::Control, events::Events, failure::StopReason, learner::Stage, spec::Job},
};

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), StopReason> {
    let base_weights = BaseWeights::load(job)?;
    let prepared = PreparedJob::new(job, base_weights.preprocessing, control, events)?;
    let base = base_weights.base(prepared.compute)?.frozen(prepared.compute.kind());
    let features = base_weights.features(&prepared, &base, &job.samples)?;
    let head = Head::random(job.spec.params.seed, prepared.compute.device);
    let recipe = FeatureHead { head: &head, features: &features };
    let result = prepared.fit(Stage::Main, &recipe)?;
    prepared.finish(
        &recipe,
        result,
        base_weights.into_network(head.tensors(), prepared.preprocessing),
    )
}
