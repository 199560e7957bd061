//! `efficientnet_lite0_features`: logistic regression on features of a frozen EfficientNet-Lite0,
//! computed once per image.
//!
//! Each epoch solves the regression to its minimum under a weaker regularisation than the one before,
//! from its solution on; the epoch with the lowest validation loss is kept. So the strength is chosen
//! on the validation split, and five images per class need no other settings than thousands.

use std::cell::OnceCell;

use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use super::PreparedJob;
use crate::{
    architectures::efficientnet::{Base, FEATURES, Head},
    bases::EFFICIENTNET_LITE0,
    device::ComputeConfig,
    domain::{
        dataset::Sample,
        metrics::SplitMetrics,
        model::{Architecture, Normalization, Preprocessing, Pretrained},
    },
    training::{
        control::Control,
        evaluate::{self, RunningMetrics},
        events::Events,
        failure::{Failure, StopReason},
        features,
        finish::TrainedNetwork,
        lbfgs,
        learner::Stage,
        record_store::RecordStore,
        spec::Job,
        trainable::Trainable,
    },
    weights::tensors::{self, Tensors},
};

/// Strengths of the regularisation in the first and in the last epoch: half of it times the squared
/// norm of the weights is added to the sum of the losses of all images.
const STRENGTHS: (f64, f64) = (100.0, 1e-3);

/// That of a single epoch.
const SINGLE_STRENGTH: f64 = 1.0;

/// The strength of `epoch`, starting at 1, of `epochs`: a geometric sequence.
fn strength(epoch: u32, epochs: u32) -> f64 {
    if epochs < 2 {
        return SINGLE_STRENGTH;
    }
    let done = f64::from(epoch - 1) / f64::from(epochs - 1);
    STRENGTHS.0 * (STRENGTHS.1 / STRENGTHS.0).powf(done)
}

struct Regression<'a> {
    head: &'a Head,
    features: &'a RecordStore,
    train: &'a [Sample],
    compute: ComputeConfig,
    /// Features and labels of the training split.
    data: OnceCell<(Tensor, Tensor)>,
}

impl Regression<'_> {
    fn gather(&self, samples: &[Sample]) -> Tensor {
        self.features.gather(samples).to_kind(Kind::Float)
    }
}

impl Trainable for Regression<'_> {
    fn weights(&self) -> Tensors {
        self.head.tensors()
    }

    fn solve(&self, epoch: u32, epochs: u32) -> Option<SplitMetrics> {
        let _no_grad = tch::no_grad_guard();
        let (features, labels) = self
            .data
            .get_or_init(|| (self.gather(self.train), evaluate::targets(self.train, self.compute)));
        let count = self.train.len() as f64;
        let weight_decay = strength(epoch, epochs) / count;
        // The bias comes last and is not regularised.
        let loss = |parameters: &Tensor| {
            let weights = parameters.narrow(0, 0, FEATURES);
            let bias = parameters.narrow(0, FEATURES, 1).to_kind(Kind::Float);
            let logits = features.mv(&weights.to_kind(Kind::Float)) + bias;
            let residuals = logits.sigmoid() - labels;
            let gradient = Tensor::cat(
                &[features.tr().mv(&residuals), residuals.sum(Kind::Float).reshape([1])],
                0,
            )
            .to_kind(Kind::Double)
                / count;
            let _ = gradient.narrow(0, 0, FEATURES).g_add_(&(&weights * weight_decay));
            let losses = evaluate::losses(&logits, labels).sum(Kind::Double).double_value(&[]);
            let penalty = weights.dot(&weights).double_value(&[]);
            (losses / count + 0.5 * weight_decay * penalty, gradient)
        };
        let tensors = self.head.tensors();
        let (mut weight, mut bias) =
            (tensors["output.weight"].shallow_clone(), tensors["output.bias"].shallow_clone());
        let start = Tensor::cat(&[weight.reshape([-1]), bias.shallow_clone()], 0);
        let solution = lbfgs::minimise(start.to_kind(Kind::Double), loss);
        weight.copy_(&solution.narrow(0, 0, FEATURES).reshape([1, FEATURES]));
        bias.copy_(&solution.narrow(0, FEATURES, 1));
        let logits = self.head.forward(features, 0.0);
        let mut metrics = RunningMetrics::new(self.compute);
        metrics.add(&evaluate::losses(&logits, labels), &logits, labels);
        Some(metrics.means())
    }

    fn training_logits(&self, batch: &[Sample], _: &mut ChaCha8Rng) -> Tensor {
        self.predict_logits(batch)
    }

    fn predict_logits(&self, batch: &[Sample]) -> Tensor {
        self.head.forward(&self.gather(batch), 0.0)
    }
}

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), StopReason> {
    let invalid = |reason: String| Failure::new("internal", reason);
    let prepared =
        PreparedJob::new(job, Preprocessing::at_224(Normalization::Centred), control, events)?;
    let compute = prepared.compute;
    let shipped = EFFICIENTNET_LITE0.tensors().map_err(|error| invalid(error.to_string()))?;
    let base = Base::take_from(&mut tensors::share(&shipped), compute.device).map_err(invalid)?;
    let base = base.for_inference(compute.kind());
    let sha256 = EFFICIENTNET_LITE0.sha256;
    let layout = features::layout(
        EFFICIENTNET_LITE0.base,
        &sha256,
        "features",
        &[FEATURES],
        &prepared.preprocessing,
        compute,
    );
    let features = prepared
        .extract(layout, &job.samples, |batch| base.features(&prepared.inputs.plain(batch)))?;
    let head = Head::zeros(compute.device);
    let recipe = Regression {
        head: &head,
        features: &features,
        train: &prepared.train,
        compute,
        data: OnceCell::new(),
    };
    let result = prepared.fit(Stage::Main, &recipe)?;
    let mut tensors = shipped;
    tensors.extend(head.tensors());
    let network = TrainedNetwork {
        architecture: Architecture::EfficientnetLite0,
        tensors,
        preprocessing: prepared.preprocessing,
        pretrained: Some(Pretrained { origin: EFFICIENTNET_LITE0.origin.to_owned(), sha256 }),
    };
    prepared.finish(&recipe, result, network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regularisation_becomes_weaker_from_epoch_to_epoch() {
        let strengths: Vec<_> = (1..=11).map(|epoch| strength(epoch, 11)).collect();
        assert!((strengths[0] - 100.0).abs() < 1e-9 && (strengths[10] - 1e-3).abs() < 1e-9);
        assert!((strengths[4] - 1.0).abs() < 1e-9);
        assert!(strengths.windows(2).all(|pair| pair[1] < pair[0]));
        assert_eq!(strength(1, 1).to_bits(), 1.0_f64.to_bits());
    }
}
