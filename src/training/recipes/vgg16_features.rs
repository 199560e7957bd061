//! `vgg16_features`: a new head on features of a frozen VGG16, computed once per image.

use super::{
    Prepared,
    vgg16::{Given, OverFeatures},
};
use crate::{
    architectures::vgg16::Head,
    training::{control::Control, events::Events, failure::End, learner::Stage, spec::Job},
};

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), End> {
    let given = Given::load(job)?;
    let prepared = Prepared::new(job, given.normalise, control, events)?;
    let base = given.base(prepared.compute)?.fixed(prepared.compute.kind());
    let features = given.features(&prepared, &base, &job.samples)?;
    let head = Head::random(job.spec.params.seed, prepared.compute.device);
    let recipe = OverFeatures { head: &head, features: &features };
    let trained = prepared.fit(Stage::Main, &recipe)?;
    prepared.finish(&recipe, trained, given.made(head.tensors(), prepared.preprocessing))
}
