//! `augmented_cnn`: the small network on images that are randomly flipped, rotated and zoomed in
//! each epoch, with dropout before its dense layer.

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

/// Dropout rate of the features.
const DROPOUT: f64 = 0.5;

struct AugmentedCnn<'a> {
    network: &'a Cnn,
    inputs: &'a InputPipeline,
}

impl Trainable for AugmentedCnn<'_> {
    fn weights(&self) -> Tensors {
        self.network.tensors()
    }

    fn training_logits(&self, batch: &[Sample], generator: &mut ChaCha8Rng) -> Tensor {
        let features = self.network.features(&self.inputs.augmented(batch, generator));
        self.network.classify(&features.dropout(DROPOUT, true))
    }

    fn predict_logits(&self, batch: &[Sample]) -> Tensor {
        self.network.forward(&self.inputs.plain(batch))
    }
}

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), StopReason> {
    let prepared = PreparedJob::new(job, Preprocessing::UNIT_180, control, events)?;
    let network = prepared.new_cnn();
    let recipe = AugmentedCnn { network: &network, inputs: &prepared.inputs };
    let result = prepared.fit(Stage::Main, &recipe)?;
    prepared.finish(&recipe, result, TrainedNetwork::cnn(&network, prepared.preprocessing))
}
