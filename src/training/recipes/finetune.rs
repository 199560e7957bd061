//! `…_finetune`: trains a head on the frozen base network, then both its last stages and the head with
//! a low learning rate on augmented images.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::{base::BaseJob, features::on_features};
use crate::{
    architectures::{BaseNetwork, Head},
    domain::{base::Base, dataset::Sample, parameters::Params, recipe::Recipe},
    model_file,
    training::{
        control::Control,
        events::Events,
        failure::{Failure, StopReason},
        input_pipeline::InputPipeline,
        learner::{Stage, TrainingResult},
        record_store::RecordStore,
        spec::{HEAD, Job},
        trainable::Trainable,
    },
    weights::tensors::Tensors,
};

struct FineTuning<'a> {
    network: &'a BaseNetwork,
    head: &'a Head,
    inputs: &'a InputPipeline,
    /// The input of the first trained stage for each image of the validation split, which is evaluated
    /// without augmentation after every epoch.
    validation: &'a RecordStore,
}

impl FineTuning<'_> {
    fn first_stage(&self) -> usize {
        self.network.base().fine_tuning.first_stage
    }

    /// Features of the maps that the first trained stage takes.
    fn features(&self, maps: &Tensor) -> Tensor {
        self.network.pool(&self.network.stages_from(self.first_stage(), maps))
    }

    /// Features of images without augmentation.
    fn plain_features(&self, batch: &[Sample]) -> Tensor {
        let maps = if self.validation.contains_all(batch) {
            self.validation.gather(batch).permute([0, 3, 1, 2])
        } else {
            self.network.stages_before(self.first_stage(), &self.inputs.plain(batch))
        };
        self.features(&maps)
    }
}

impl Trainable for FineTuning<'_> {
    fn weights(&self) -> Tensors {
        let mut tensors = self.network.tensors_from(self.first_stage());
        tensors.extend(self.head.tensors());
        tensors
    }

    fn training_logits(&self, batch: &[Sample], generator: &mut ChaCha8Rng) -> Tensor {
        // Nothing below the first trained stage has a gradient, so no activations are kept for it.
        let maps = tch::no_grad(|| {
            let images = self.inputs.augmented(batch, generator);
            self.network.stages_before(self.first_stage(), &images)
        });
        self.head.training_forward(&self.features(&maps))
    }

    fn predict_logits(&self, batch: &[Sample]) -> Tensor {
        self.head.forward(&self.plain_features(batch))
    }

    fn embeddings(&self, batch: &[Sample]) -> Option<Tensor> {
        let features = self.plain_features(batch);
        Some(BaseNetwork::embeddings(self.network.base(), &features))
    }
}

pub(super) fn train(
    base: &'static Base,
    job: &Job,
    control: &Control,
    events: &Events,
) -> Result<(), StopReason> {
    let job = BaseJob::new(base, job, control, events)?;
    let prepared = &job.prepared;
    let first = base.fine_tuning.first_stage;
    let network = job.network()?.unfreeze_from(first, prepared.compute.kind());
    let head = initial_head(&job)?;
    prepared.set_has_result();
    let validation = job.stages_before(&network, first, &prepared.validation)?;
    let recipe = FineTuning {
        network: &network,
        head: &head,
        inputs: &prepared.inputs,
        validation: &validation,
    };
    let result = prepared.fit(Stage::FineTuning, &recipe)?;
    prepared.finish(&recipe, result, job.trained_network(recipe.weights()))
}

/// The head that fine-tuning starts from: of another job, or trained by this one.
fn initial_head(job: &BaseJob<'_>) -> Result<Head, StopReason> {
    let prepared = &job.prepared;
    let params = &prepared.job.spec.params;
    let Some(head_epochs) = params.head_epochs else { return head_of_other_job(job) };
    let head = job.new_head();
    // Its weights are in the checkpoint then.
    if prepared.resumes {
        return Ok(head);
    }
    let samples = [&*prepared.train, &*prepared.validation].concat();
    let features = job.features(&samples)?;
    let Params { batch_size, seed, precision, device, .. } = *params;
    let own = Params::defaults(Recipe::Features(job.base));
    let params = Params { epochs: head_epochs, batch_size, seed, precision, device, ..own };
    let TrainingResult { best, .. } =
        prepared.fit_head(&params, &*on_features(job, &head, &features))?;
    tracing::info!(best.epoch, best.val_loss, best.val_accuracy, "head trained");
    Ok(head)
}

fn head_of_other_job(job: &BaseJob<'_>) -> Result<Head, StopReason> {
    let path = job.prepared.job.folder.join(HEAD);
    let bad = |reason: String| {
        Failure::new(
            "bad_job",
            format!("can't use the head of the job in params.head_from: {reason}"),
        )
    };
    let (card, mut tensors) = model_file::load(&path).map_err(|error| bad(error.to_string()))?;
    if card.pretrained.as_ref() != Some(job.pretrained()) {
        return Err(bad("it was trained on features of other weights".to_owned()).into());
    }
    let names = job.new_head().tensors();
    tensors.retain(|name, _| names.contains_key(name));
    let outputs = job.prepared.objective().outputs();
    Head::from_tensors(tensors, job.base, outputs, job.prepared.compute.device)
        .map_err(|reason| bad(reason).into())
}
