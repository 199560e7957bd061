//! The few images of a probe.

use std::{collections::HashMap, path::Path};

use crate::{
    domain::{
        dataset::{Sample, Split},
        estimate::Images,
        parameters::Params,
    },
    training::spec::Spec,
};

/// Training images of a probe of small batches, and steps of one of large batches.
const TRAIN: usize = 128;
const MIN_STEPS: usize = 2;
/// Its other images.
const VALIDATION: usize = 32;
const TEST: usize = 16;

/// The images of a probe: of each split a few of each class, `times` as many as in the first probe.
pub(super) fn few(samples: &[Sample], spec: &Spec, times: usize) -> Vec<Sample> {
    let batch = spec.params.batch_size as usize;
    let classes = spec.classes.names().len();
    let train = (TRAIN / batch).max(MIN_STEPS) * batch;
    let of = |split, count: usize| {
        let of_split: Vec<_> = samples.iter().filter(|it| it.split == split).copied().collect();
        evenly(&of_split, times * count.max(classes))
    };
    let mut few = of(Split::Train, train);
    few.extend(of(Split::Validation, VALIDATION));
    few.extend(of(Split::Test, TEST));
    few.sort_by_key(|sample| sample.sha256);
    few
}

/// `count` of `samples`: the first of each class, then the second, and so on.
fn evenly(samples: &[Sample], count: usize) -> Vec<Sample> {
    let mut ranks = HashMap::new();
    let mut ranked: Vec<_> = samples
        .iter()
        .map(|sample| {
            let rank = ranks.entry(sample.label).or_insert(0_usize);
            *rank += 1;
            (*rank, *sample)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().take(count).map(|(_, sample)| sample).collect()
}

/// The number of images of each split.
pub(super) fn images(samples: &[Sample]) -> Images {
    let of = |split| samples.iter().filter(|sample| sample.split == split).count() as f64;
    let [train, validation, test] = Split::ALL.map(of);
    Images { train, validation, test }
}

/// The spec of a probe: one epoch on these images, with a cache of its own.
pub(super) fn small(spec: Spec, few: &[Sample], cache: &Path) -> Spec {
    let head_epochs = spec.params.head_epochs.map(|_| 1);
    let params = Params { epochs: 1, head_epochs, ..spec.params.clone() };
    let dataset_version = spec.version_of(few);
    Spec { params, dataset_version, cache: cache.to_owned(), ..spec }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ImageId, dataset::Digest};

    #[test]
    fn a_probe_has_images_of_each_class() {
        let sample = |label| Sample {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label,
            split: Split::Train,
        };
        let samples: Vec<_> = [0, 0, 0, 0, 1, 2].map(sample).to_vec();
        let labels: Vec<_> = evenly(&samples, 4).iter().map(|sample| sample.label).collect();
        assert_eq!(labels, [0, 1, 2, 0]);
    }
}
