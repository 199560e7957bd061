//! `scratch_cnn`: the small network, trained from scratch.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::PreparedJob;
use crate::{
    architectures::Cnn,
    domain::{dataset::Sample, preprocessing::Preprocessing},
    training::{
        control::Control, events::Events, failure::StopReason, finish::TrainedNetwork,
        input_pipeline::InputPipeline, learner::Stage, spec::Job, trainable::Trainable,
    },
    weights::tensors::Tensors,
};

struct ScratchCnn<'a> {
    network: &'a Cnn,
    inputs: &'a InputPipeline,
}

impl Trainable for ScratchCnn<'_> {
    fn weights(&self) -> Tensors {
        self.network.tensors()
    }

    fn training_logits(&self, batch: &[Sample], _: &mut ChaCha8Rng) -> Tensor {
        self.predict_logits(batch)
    }

    fn predict_logits(&self, batch: &[Sample]) -> Tensor {
        self.network.forward(&self.inputs.plain(batch))
    }
}

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), StopReason> {
    let prepared = PreparedJob::new(job, Preprocessing::UNIT_180, control, events)?;
    let network = prepared.new_cnn();
    let recipe = ScratchCnn { network: &network, inputs: &prepared.inputs };
    let result = prepared.fit(Stage::Main, &recipe)?;
    prepared.finish(&recipe, result, TrainedNetwork::cnn(&network, prepared.preprocessing))
}
