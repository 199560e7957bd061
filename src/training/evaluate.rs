//! Evaluation of a network in training, predictions and labels in one pass.

use tch::{Device, Kind, Tensor};

use super::failure::{Failure, StopReason};
use crate::{
    architectures::logit_rows,
    device::ComputeConfig,
    domain::{dataset::Sample, evaluation::ScoredSample, metrics::SplitMetrics, objective::Logits},
};

/// Running sums over the images of an epoch.
#[derive(Debug)]
pub struct RunningMetrics {
    loss: Tensor,
    correct: Tensor,
    count: u64,
}

impl RunningMetrics {
    /// No images yet.
    #[must_use]
    pub fn new(compute: ComputeConfig) -> Self {
        let zero = || Tensor::zeros([], (Kind::Double, compute.device));
        Self { loss: zero(), correct: zero(), count: 0 }
    }

    /// Adds one batch: the losses of its images, and which of them are classified correctly, each
    /// `[n]`. Stays on the device; nothing waits for it.
    pub fn add(&mut self, losses: &Tensor, correct: &Tensor) {
        self.loss = &self.loss + losses.detach().sum(Kind::Double);
        self.correct = &self.correct + correct.sum(Kind::Double);
        self.count += losses.size()[0] as u64;
    }

    /// The sums so far: loss, correctly classified images, images. Waits for the device.
    #[must_use]
    pub fn totals(&self) -> (f64, f64, u64) {
        (self.loss.double_value(&[]), self.correct.double_value(&[]), self.count)
    }

    /// Restores saved sums.
    pub fn restore(&mut self, loss: f64, correct: f64, count: u64) {
        self.loss = &self.loss + loss;
        self.correct = &self.correct + correct;
        self.count += count;
    }

    /// The means. Waits for the device.
    #[must_use]
    pub fn means(&self) -> SplitMetrics {
        let (loss, correct, count) = self.totals();
        let images = count.max(1) as f64;
        SplitMetrics { count, loss: loss / images, accuracy: correct / images }
    }
}

/// Images of one pass: a few stay in the CPU's cache. A GPU needs many, but no more than the job's
/// batch size, so that a smaller `batch_size` helps if it has little memory.
fn inference_batch_size(compute: ComputeConfig, batch_size: u32) -> usize {
    match compute.device {
        Device::Cpu => 8,
        _ => (batch_size as usize).clamp(8, 128),
    }
}

/// What a network computes of `samples`, in order, of a job with batches of `batch_size` images:
/// `forward` gives that of one pass, `[n, …]`, or nothing if it can't. `progress` is called with the
/// number of passes done and their total, and may end it.
///
/// # Errors
/// That of `progress`.
pub fn passes(
    forward: impl Fn(&[Sample]) -> Option<Tensor>,
    samples: &[Sample],
    compute: ComputeConfig,
    batch_size: u32,
    mut progress: impl FnMut(u64, u64) -> Result<(), StopReason>,
) -> Result<Option<Tensor>, StopReason> {
    let _no_grad = tch::no_grad_guard();
    let batches = samples.chunks(inference_batch_size(compute, batch_size));
    let all = batches.len() as u64;
    let mut outputs = Vec::with_capacity(batches.len());
    for (done, batch) in (0..).zip(batches) {
        progress(done, all)?;
        let Some(output) = forward(batch) else { return Ok(None) };
        outputs.push(output);
    }
    Ok((!outputs.is_empty()).then(|| Tensor::cat(&outputs, 0)))
}

/// Logits of `samples`, as [`passes`]: `predict` gives those of one pass, `[n, outputs]`.
///
/// # Errors
/// That of `progress`.
pub fn logits(
    predict: impl Fn(&[Sample]) -> Tensor,
    samples: &[Sample],
    compute: ComputeConfig,
    batch_size: u32,
    progress: impl FnMut(u64, u64) -> Result<(), StopReason>,
) -> Result<Vec<Logits>, StopReason> {
    let forward = |batch: &[Sample]| Some(predict(batch));
    let outputs = passes(forward, samples, compute, batch_size, progress)?;
    let rows = outputs.map_or_else(|| Ok(Vec::new()), |outputs| logit_rows(&outputs));
    rows.map_err(|error| Failure::new("internal", error.to_string()).into())
}

/// The outputs for each of `samples` with their logits.
#[must_use]
pub fn scored_samples(samples: &[Sample], logits: Vec<Logits>) -> Vec<ScoredSample> {
    let pairs = samples.iter().zip(logits);
    pairs
        .map(|(sample, logits)| ScoredSample {
            image_id: sample.image_id,
            label: sample.label,
            logits,
        })
        .collect()
}
