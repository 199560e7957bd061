//! Which images make which batch.

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::domain::dataset::Sample;

/// The training samples in the order of one epoch, which depends on the seed and the epoch alone:
/// a run that was interrupted sees the same batches as one that was not.
#[must_use]
pub fn shuffled(samples: &[Sample], seed: u64, epoch: u32) -> Vec<Sample> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..12].copy_from_slice(&epoch.to_le_bytes());
    let mut order = samples.to_vec();
    order.shuffle(&mut ChaCha8Rng::from_seed(key));
    order
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
}
