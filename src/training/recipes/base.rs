//! Shared code of the recipes that build on a base network: its weights, and its outputs for each
//! image.

use tch::Tensor;

use super::PreparedJob;
use crate::{
    architectures::{BaseNetwork, Head},
    bases::BaseWeights,
    domain::{
        base::Base,
        dataset::Sample,
        model::{Architecture, Pretrained},
    },
    training::{
        cache::Layout,
        control::Control,
        events::Events,
        failure::{Failure, StopReason},
        features,
        finish::TrainedNetwork,
        record_store::RecordStore,
        spec::Job,
    },
    weights::tensors::{self, Tensors},
};

/// A job that builds on a base network, ready to train.
pub(super) struct BaseJob<'a> {
    pub(super) prepared: PreparedJob<'a>,
    pub(super) base: &'static Base,
    weights: BaseWeights,
}

impl<'a> BaseJob<'a> {
    pub(super) fn new(
        base: &'static Base,
        job: &'a Job,
        control: &'a Control,
        events: &'a Events,
    ) -> Result<Self, StopReason> {
        let weights =
            BaseWeights::load(base, &job.folder).map_err(|reason| bad_weights(base, &reason))?;
        let prepared = PreparedJob::new(job, weights.preprocessing, control, events)?;
        Ok(Self { prepared, base, weights })
    }

    /// Where its initial weights were published.
    pub(super) const fn pretrained(&self) -> &Pretrained {
        &self.weights.pretrained
    }

    /// The base network with its initial weights.
    pub(super) fn network(&self) -> Result<BaseNetwork, StopReason> {
        let network = self.weights.network(self.prepared.compute.device);
        network.map_err(|reason| bad_weights(self.base, &reason).into())
    }

    /// A new head on it.
    pub(super) fn new_head(&self) -> Head {
        let PreparedJob { job, compute, .. } = &self.prepared;
        let outputs = self.prepared.objective().outputs();
        Head::new(self.base, outputs, job.spec.params.seed, compute.device)
    }

    /// The features of `samples`, `[n, features]`, computed once per image.
    pub(super) fn features(&self, samples: &[Sample]) -> Result<RecordStore, StopReason> {
        let PreparedJob { compute, inputs, .. } = &self.prepared;
        let network = self.network()?.for_inference(compute.kind());
        let layout = self.layout("features", &[self.base.features]);
        self.prepared.extract(layout, samples, |batch| network.features(&inputs.plain(batch)))
    }

    /// The maps of `samples` that stage `first` of `network` takes, `[n, height, width, channels]`,
    /// computed once per image. The stages before `first` must have their initial weights.
    pub(super) fn stages_before(
        &self,
        network: &BaseNetwork,
        first: usize,
        samples: &[Sample],
    ) -> Result<RecordStore, StopReason> {
        let PreparedJob { compute, inputs, .. } = &self.prepared;
        let maps = |images: &Tensor| network.stages_before(first, images).permute([0, 2, 3, 1]);
        let side = i64::from(self.base.side);
        let black = Tensor::zeros([1, 3, side, side], (compute.kind(), compute.device));
        let shape = tch::no_grad(|| maps(&black)).size();
        let layout = self.layout(&format!("before-stage{first}"), &shape[1..]);
        self.prepared.extract(layout, samples, |batch| maps(&inputs.plain(batch)))
    }

    fn layout(&self, layer: &str, shape: &[i64]) -> Layout {
        let PreparedJob { preprocessing, compute, .. } = &self.prepared;
        let sha256 = &self.weights.pretrained.sha256;
        features::layout(self.base.id(), sha256, layer, shape, preprocessing, *compute)
    }

    /// The whole network: the initial weights but for those that were trained.
    pub(super) fn trained_network(&self, trained: Tensors) -> TrainedNetwork {
        let mut tensors = tensors::share(&self.weights.tensors);
        tensors.extend(trained);
        TrainedNetwork {
            architecture: Architecture::Base(self.base),
            tensors,
            preprocessing: self.prepared.preprocessing,
            pretrained: Some(self.weights.pretrained.clone()),
        }
    }
}

fn bad_weights(base: &Base, reason: &str) -> Failure {
    Failure::new("bad_job", format!("can't read the job's {} weights: {reason}", base.title))
}
