//! Judging a network on one split, predictions and labels together in one pass.

use tch::{Kind, Reduction, Tensor};

use super::{device::Compute, failure::End, pixels::Pixels};
use crate::{
    architectures::{Cnn, unit_range},
    domain::{dataset::Sample, metrics::Score},
};

/// What sums up over the images of an epoch or a split.
#[derive(Debug)]
pub struct Tally {
    loss: Tensor,
    correct: Tensor,
    count: u64,
}

impl Tally {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(compute: Compute) -> Self {
        let zero = || Tensor::zeros([], (Kind::Double, compute.device));
        Self { loss: zero(), correct: zero(), count: 0 }
    }

    /// Adds one batch: the losses of its images and their logits, each `[n]`. Stays on the
    /// device; nothing waits for it.
    pub fn add(&mut self, losses: &Tensor, logits: &Tensor, labels: &Tensor) {
        let losses = losses.detach().sum(Kind::Double);
        let correct = logits.detach().ge(0.0).eq_tensor(&labels.gt(0.5)).sum(Kind::Double);
        self.loss = &self.loss + losses;
        self.correct = &self.correct + correct;
        self.count += labels.size()[0] as u64;
    }

    /// The sums so far: loss, images told right, images. Waits for the device.
    #[must_use]
    pub fn sums(&self) -> (f64, f64, u64) {
        (self.loss.double_value(&[]), self.correct.double_value(&[]), self.count)
    }

    /// Takes up sums that were saved.
    pub fn add_sums(&mut self, loss: f64, correct: f64, count: u64) {
        self.loss = &self.loss + loss;
        self.correct = &self.correct + correct;
        self.count += count;
    }

    /// The means. Waits for the device.
    #[must_use]
    pub fn score(&self) -> Score {
        let (loss, correct, count) = self.sums();
        let images = count.max(1) as f64;
        Score { count, loss: loss / images, accuracy: correct / images }
    }
}

/// Binary cross-entropy of each image, `[n]`, for logits and labels `[n]`.
pub fn losses(logits: &Tensor, labels: &Tensor) -> Tensor {
    logits.binary_cross_entropy_with_logits::<Tensor>(labels, None, None, Reduction::None)
}

/// The labels of `samples` as a network's targets: 0 or 1, `[n]`.
pub fn targets(samples: &[Sample], compute: Compute) -> Tensor {
    let labels: Vec<f32> = samples.iter().map(|sample| sample.label as f32).collect();
    Tensor::from_slice(&labels).to_device(compute.device)
}

/// The images of `samples` as a network takes them, `[n, 3, height, width]`, channels last.
pub fn inputs(pixels: &Pixels, samples: &[Sample], compute: Compute) -> Tensor {
    unit_range(&pixels.gather(samples).to_device(compute.device), compute.kind())
}

/// Loss and accuracy of `network` over `samples`; `progress` is called with the batches done
/// and may end it.
///
/// # Errors
/// What `progress` says.
pub fn score(
    network: &Cnn,
    pixels: &Pixels,
    samples: &[Sample],
    batch_size: usize,
    compute: Compute,
    mut progress: impl FnMut(u64) -> Result<(), End>,
) -> Result<Score, End> {
    let _no_grad = tch::no_grad_guard();
    let mut tally = Tally::new(compute);
    for (done, batch) in (0..).zip(samples.chunks(batch_size)) {
        progress(done)?;
        let logits = network.forward(&inputs(pixels, batch, compute));
        let labels = targets(batch, compute);
        tally.add(&losses(&logits, &labels), &logits, &labels);
    }
    Ok(tally.score())
}
