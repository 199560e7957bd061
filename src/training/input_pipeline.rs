//! Decoded photos on their way into a network: gathered, augmented, normalised.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::{
    augment::{Transform, augment},
    record_store::RecordStore,
};
use crate::{
    architectures::{channels_last, normalise},
    device::ComputeConfig,
    domain::{dataset::Sample, model::Normalization},
};

/// The photos of a job, as its network takes them.
#[derive(Debug)]
pub struct InputPipeline {
    /// RGB bytes, `[n, height, width, 3]`.
    pub pixels: RecordStore,
    /// How a byte becomes the network's input.
    pub normalise: Normalization,
    /// Where and how precisely it computes.
    pub compute: ComputeConfig,
}

impl InputPipeline {
    /// The photos as they are, `[n, 3, height, width]`, channels last.
    pub fn plain(&self, samples: &[Sample]) -> Tensor {
        normalise(&self.pixels.gather(samples), self.normalise, self.compute.kind())
    }

    /// The photos augmented at random, `[n, 3, height, width]`, channels last.
    pub fn augmented(&self, samples: &[Sample], generator: &mut ChaCha8Rng) -> Tensor {
        let transforms: Vec<Transform> =
            samples.iter().map(|_| Transform::random(generator)).collect();
        let augmented = augment(&self.pixels.gather(samples), &transforms);
        channels_last(&normalise(&augmented, self.normalise, self.compute.kind()))
    }
}
