//! `…_features`: a new head on features of a frozen base network, computed once per image.

use super::{base::BaseJob, feature_head::FeatureHead, regression::Regression};
use crate::{
    architectures::Head,
    domain::base::Base,
    training::{
        control::Control, events::Events, failure::StopReason, learner::Stage,
        record_store::RecordStore, spec::Job, trainable::Trainable,
    },
};

pub(super) fn train(
    base: &'static Base,
    job: &Job,
    control: &Control,
    events: &Events,
) -> Result<(), StopReason> {
    let job = BaseJob::new(base, job, control, events)?;
    let features = job.features(&job.prepared.job.samples)?;
    let head = job.new_head();
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
    let head = FeatureHead::new(job.base, head, features);
    match job.base.head.hidden {
        Some(_) => Box::new(head),
        None => Box::new(Regression::new(head, &job.prepared)),
    }
}
