//! `scratch_cnn`: the small network, trained from scratch.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::Prepared;
use crate::{
    architectures::Cnn,
    domain::{dataset::Sample, model::Normalise},
    training::{
        control::Control, events::Events, failure::End, finish::Made, learnable::Learnable,
        learner::Stage, photos::Photos, spec::Job,
    },
    weights::tensors::Tensors,
};

struct ScratchCnn<'a> {
    network: &'a Cnn,
    photos: &'a Photos,
}

impl Learnable for ScratchCnn<'_> {
    fn weights(&self) -> Tensors {
        self.network.tensors()
    }

    fn train(&self, batch: &[Sample], _: &mut ChaCha8Rng) -> Tensor {
        self.judge(batch)
    }

    fn judge(&self, batch: &[Sample]) -> Tensor {
        self.network.forward(&self.photos.plain(batch))
    }
}

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), End> {
    let prepared = Prepared::new(job, Normalise::UnitRange, control, events)?;
    let network = Cnn::random(job.spec.params.seed, prepared.compute.device);
    let recipe = ScratchCnn { network: &network, photos: &prepared.photos };
    let trained = prepared.fit(Stage::Main, &recipe)?;
    prepared.finish(&recipe, trained, Made::cnn(&network, prepared.preprocessing))
}
