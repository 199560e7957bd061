//! The input pipeline of a network: gathers, augments and normalises decoded images.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::{
    augment::{Transform, augment},
    record_store::RecordStore,
};
use crate::{
    architectures::{channels_last, normalise},
    device::ComputeConfig,
    domain::{dataset::Sample, preprocessing::Normalization},
};

/// The images of a job, as input of its network.
#[derive(Debug)]
pub struct InputPipeline {
    /// RGB bytes, `[n, height, width, 3]`.
    pub pixels: RecordStore,
    /// How a byte becomes the network's input.
    pub normalise: Normalization,
    /// Device and precision.
    pub compute: ComputeConfig,
}

impl InputPipeline {
    /// The images without augmentation, `[n, 3, height, width]`, channels last.
    pub fn plain(&self, samples: &[Sample]) -> Tensor {
        normalise(&self.pixels.gather(samples), self.normalise, self.compute.kind())
    }

    /// The images with random augmentation, `[n, 3, height, width]`, channels last.
    pub fn augmented(&self, samples: &[Sample], generator: &mut ChaCha8Rng) -> Tensor {
        let transforms: Vec<Transform> =
            samples.iter().map(|_| Transform::random(generator)).collect();
        let augmented = augment(&self.pixels.gather(samples), &transforms);
        channels_last(&normalise(&augmented, self.normalise, self.compute.kind()))
    }
}
