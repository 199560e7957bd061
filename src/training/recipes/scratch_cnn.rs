//! `scratch_cnn`: the small network, from random weights, on the photos alone.

use super::prepare;
use crate::{
    architectures::Cnn,
    domain::model::{Architecture, Preprocessing},
    training::{
        control::Control,
        events::Events,
        failure::End,
        finish,
        learner::{Learner, Task},
        spec::Job,
    },
};

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), End> {
    let preprocessing = Preprocessing::UNIT_180;
    let prepared = prepare(job, &preprocessing, control, events)?;
    let network = Cnn::random(job.spec.params.seed, prepared.compute.device);
    let task = Task {
        params: &job.spec.params,
        compute: prepared.compute,
        pixels: &prepared.pixels,
        train: &prepared.train,
        validation: &prepared.validation,
        checkpoints: &prepared.checkpoints,
        control,
        events,
    };
    let trained = Learner::new(task, network, prepared.checkpoint)?.fit()?;
    finish::finish(job, task, &prepared.test, Architecture::Cnn, preprocessing, trained)
}
