//! `augmented_cnn`: the small network on images that are randomly flipped, rotated and zoomed in
//! each epoch, with dropout before its dense layer.

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

/// Dropout rate of the features.
const DROPOUT: f64 = 0.5;

struct AugmentedCnn<'a> {
    network: &'a Cnn,
    photos: &'a Photos,
}

impl Learnable for AugmentedCnn<'_> {
    fn weights(&self) -> Tensors {
        self.network.tensors()
    }

    fn train(&self, batch: &[Sample], generator: &mut ChaCha8Rng) -> Tensor {
        let features = self.network.features(&self.photos.augmented(batch, generator));
        self.network.classify(&features.dropout(DROPOUT, true))
    }

    fn judge(&self, batch: &[Sample]) -> Tensor {
        self.network.forward(&self.photos.plain(batch))
    }
}

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), End> {
    let prepared = Prepared::new(job, Normalise::UnitRange, control, events)?;
    let network = Cnn::random(job.spec.params.seed, prepared.compute.device);
    let recipe = AugmentedCnn { network: &network, photos: &prepared.photos };
    let trained = prepared.fit(Stage::Main, &recipe)?;
    prepared.finish(&recipe, trained, Made::cnn(&network, prepared.preprocessing))
}
