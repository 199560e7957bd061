//! Random numbers of training, each derived from (seed, epoch, step) alone: an interrupted run
//! draws the same as an uninterrupted one.

use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::domain::dataset::Sample;

/// The training samples in the order of one epoch.
#[must_use]
pub fn shuffled(samples: &[Sample], seed: u64, epoch: u32) -> Vec<Sample> {
    let mut order = samples.to_vec();
    order.shuffle(&mut generator(seed, epoch, 0));
    order
}

/// The generator of one optimizer step, counted from 0 in its epoch. Sets libtorch's own, of the
/// CPU and of CUDA, for what is drawn there: dropout.
pub fn step_rng(seed: u64, epoch: u32, step: u64) -> ChaCha8Rng {
    let mut generator = generator(seed, epoch, step + 1);
    tch::manual_seed(generator.random::<i64>());
    generator
}

fn generator(seed: u64, epoch: u32, stream: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..12].copy_from_slice(&epoch.to_le_bytes());
    key[12..20].copy_from_slice(&stream.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ImageId,
        dataset::{Digest, Split},
    };

    #[test]
    fn an_order_depends_on_seed_and_epoch_and_loses_no_image() {
        let samples: Vec<Sample> = (0..100_u8)
            .map(|number| Sample {
                image_id: ImageId::new(),
                sha256: Digest::of(&[number]),
                label: 0,
                split: Split::Train,
            })
            .collect();
        assert_eq!(shuffled(&samples, 1, 2), shuffled(&samples, 1, 2));
        assert_ne!(shuffled(&samples, 1, 2), shuffled(&samples, 1, 3));
        assert_ne!(shuffled(&samples, 1, 2), shuffled(&samples, 2, 2));
        let mut sorted = shuffled(&samples, 1, 2);
        sorted.sort_by_key(|sample| sample.image_id);
        assert_eq!(sorted, samples);
    }

    #[test]
    fn a_step_draws_the_same_again_and_another_step_something_else() {
        let draw = |epoch, step| step_rng(7, epoch, step).random::<u64>();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }
}
