//! What is fitted on the validation split, or on cross-validated outputs, once training has ended: the
//! temperature, and when the model is unsure.

use tch::Tensor;

use super::{evaluate, failure::Failure, failure::StopReason, trainable::Trainable};
use crate::{
    device::ComputeConfig,
    domain::{
        dataset::Sample,
        evaluation::{self, ScoredSample},
        selective::{self, AnswerThresholds, Coverage, WANTED_ACCURACY},
        temperature,
    },
    neighbours::{MAX_IMAGES, Neighbours},
};

/// How a trained network's outputs become answers.
#[derive(Debug)]
pub(super) struct Calibration {
    /// The factor of the logits: the inverse of the temperature.
    pub(super) scale: f64,
    /// When the model is unsure.
    pub(super) thresholds: AnswerThresholds,
    /// Accuracy by the share of answered images of those it was calibrated on.
    pub(super) coverage: Coverage,
    /// Some training images, if the network can compare images with them.
    pub(super) neighbours: Option<Neighbours>,
    /// The distances of the validation images to them; empty without them.
    pub(super) distances: Vec<f64>,
}

/// Computes a trained network's outputs for images, in passes.
pub(super) struct Scorer<'a, P> {
    /// The network.
    pub(super) trainable: &'a dyn Trainable,
    /// Where and how precisely to compute.
    pub(super) compute: ComputeConfig,
    /// Batch size of the job.
    pub(super) batch_size: u32,
    /// Called as [`evaluate::passes`] does.
    pub(super) progress: P,
}

impl<P: FnMut(u64, u64) -> Result<(), StopReason>> Scorer<'_, P> {
    /// The logits of `samples`.
    pub(super) fn scored(&mut self, samples: &[Sample]) -> Result<Vec<ScoredSample>, StopReason> {
        let predict = |batch: &[Sample]| self.trainable.predict_logits(batch);
        let (compute, batch_size) = (self.compute, self.batch_size);
        let logits = evaluate::logits(predict, samples, compute, batch_size, &mut self.progress)?;
        Ok(evaluate::scored_samples(samples, logits))
    }

    /// Their distances to the training images.
    pub(super) fn distances(
        &mut self,
        samples: &[Sample],
        neighbours: &Neighbours,
    ) -> Result<Vec<f64>, StopReason> {
        let Some(embeddings) = self.embeddings(samples)? else { return Ok(Vec::new()) };
        Ok(neighbours.distances(&embeddings).map_err(internal)?)
    }

    fn embeddings(&mut self, samples: &[Sample]) -> Result<Option<Tensor>, StopReason> {
        let forward = |batch: &[Sample]| self.trainable.embeddings(batch);
        let (compute, batch_size) = (self.compute, self.batch_size);
        evaluate::passes(forward, samples, compute, batch_size, &mut self.progress)
    }

    /// Calibrates the network on `scored`: its outputs for the validation split, or those of
    /// cross-validation.
    pub(super) fn calibrate(
        &mut self,
        train: &[Sample],
        validation: &[Sample],
        scored: &[ScoredSample],
    ) -> Result<Calibration, StopReason> {
        let logits: Vec<_> = scored.iter().map(|sample| sample.logits.clone()).collect();
        let labels: Vec<_> = scored.iter().map(|sample| sample.label).collect();
        let scale = temperature::factor(&logits, &labels);
        let coverage = Coverage::new(evaluation::answers(scored, scale));
        let embeddings = self.embeddings(&evenly_by_class(train, MAX_IMAGES))?;
        let neighbours = embeddings.as_ref().map(Neighbours::new);
        let (distances, unlike_above) = match &neighbours {
            None => (Vec::new(), None),
            Some(neighbours) => {
                let distances = self.distances(validation, neighbours)?;
                let of_training = neighbours.among_themselves().map_err(internal)?;
                let above = selective::unlike_above(distances.clone(), of_training);
                (distances, above)
            }
        };
        let answer_above = Some(coverage.threshold(WANTED_ACCURACY));
        let thresholds = AnswerThresholds { answer_above, unlike_above };
        let coverage = coverage.thinned();
        Ok(Calibration { scale, thresholds, coverage, neighbours, distances })
    }
}

fn internal(error: tch::TchError) -> Failure {
    Failure::new("internal", error.to_string())
}

/// At most `count` of `samples`, with as many of each class as possible: the first of each, then the
/// second, and so on.
fn evenly_by_class(samples: &[Sample], count: usize) -> Vec<Sample> {
    let mut of_class = std::collections::HashMap::new();
    let mut ranked: Vec<_> = samples
        .iter()
        .map(|sample| {
            let rank = of_class.entry(sample.label).or_insert(0_usize);
            *rank += 1;
            (*rank, *sample)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().take(count).map(|(_, sample)| sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ImageId,
        dataset::{Digest, Split},
    };

    #[test]
    fn rare_classes_are_among_the_chosen() {
        let sample = |label| Sample {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label,
            split: Split::Train,
        };
        let samples: Vec<_> = [0, 0, 0, 0, 0, 0, 1, 2, 2].map(sample).to_vec();
        let labels = |count| {
            let chosen = evenly_by_class(&samples, count);
            chosen.iter().map(|sample| sample.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(6), [0, 1, 2, 0, 2, 0]);
        assert_eq!(labels(100).len(), 9);
    }
}
