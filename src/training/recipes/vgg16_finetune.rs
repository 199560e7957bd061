//! `vgg16_finetune`: trains a head on the frozen VGG16, then fine-tunes block 5 with a low learning
//! rate on augmented images.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::{
    PreparedJob,
    vgg16::{BaseWeights, DROPOUT, FeatureHead},
};
use crate::{
    architectures::vgg16::{BLOCK_4, Base, Head},
    domain::{dataset::Sample, parameters::Params, recipe::Recipe},
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
    base: &'a Base,
    head: &'a Head,
    inputs: &'a InputPipeline,
    /// Block 4's features of the validation split, which is evaluated without augmentation after
    /// every epoch.
    validation: &'a RecordStore,
}

impl Trainable for FineTuning<'_> {
    fn weights(&self) -> Tensors {
        let mut tensors = self.base.block_5_tensors();
        tensors.extend(self.head.tensors());
        tensors
    }

    fn training_logits(&self, batch: &[Sample], generator: &mut ChaCha8Rng) -> Tensor {
        // Nothing below block 5 has a gradient, so no activations are kept for it.
        let maps =
            tch::no_grad(|| self.base.blocks_1_to_4(&self.inputs.augmented(batch, generator)));
        self.head.forward(&self.base.block_5(&maps), DROPOUT)
    }

    fn predict_logits(&self, batch: &[Sample]) -> Tensor {
        let maps = if self.validation.contains_all(batch) {
            self.validation.gather(batch).permute([0, 3, 1, 2])
        } else {
            self.base.blocks_1_to_4(&self.inputs.plain(batch))
        };
        self.head.forward(&self.base.block_5(&maps), 0.0)
    }
}

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), StopReason> {
    let base_weights = BaseWeights::load(job)?;
    let prepared = PreparedJob::new(job, base_weights.preprocessing, control, events)?;
    let base = base_weights.base(prepared.compute)?.unfreeze_block_5(prepared.compute.kind());
    let head = head(&base_weights, &prepared)?;
    prepared.set_has_result();
    let layout = base_weights.layout(&prepared, "block4", &BLOCK_4);
    let validation = prepared.extract(layout, &prepared.validation, |batch| {
        base.blocks_1_to_4(&prepared.inputs.plain(batch)).permute([0, 2, 3, 1])
    })?;
    let recipe =
        FineTuning { base: &base, head: &head, inputs: &prepared.inputs, validation: &validation };
    let result = prepared.fit(Stage::FineTuning, &recipe)?;
    prepared.finish(
        &recipe,
        result,
        base_weights.into_network(recipe.weights(), prepared.preprocessing),
    )
}

/// The initial head of fine-tuning: of another job, or trained by this one.
fn head(base_weights: &BaseWeights, prepared: &PreparedJob<'_>) -> Result<Head, StopReason> {
    let PreparedJob { job, compute, .. } = *prepared;
    let params = &job.spec.params;
    let Some(head_epochs) = params.head_epochs else { return head_of_other_job(job, compute) };
    let head = Head::random(params.seed, compute.device);
    // Its weights are in the checkpoint then.
    if prepared.resumes {
        return Ok(head);
    }
    let base = base_weights.base(compute)?.frozen(compute.kind());
    let samples = [&*prepared.train, &*prepared.validation].concat();
    let features = base_weights.features(prepared, &base, &samples)?;
    let Params { batch_size, seed, precision, device, .. } = *params;
    let own = Params::defaults(Recipe::Vgg16Features);
    let params = Params { epochs: head_epochs, batch_size, seed, precision, device, ..own };
    let TrainingResult { best, .. } =
        prepared.fit_head(&params, &FeatureHead { head: &head, features: &features })?;
    tracing::info!(best.epoch, best.val_loss, best.val_accuracy, "head trained");
    Ok(head)
}

fn head_of_other_job(job: &Job, compute: crate::device::ComputeConfig) -> Result<Head, StopReason> {
    let path = job.folder.join(HEAD);
    let bad = |reason: String| {
        Failure::new(
            "bad_job",
            format!("can't use the head of the job in params.head_from: {reason}"),
        )
    };
    let (_, mut tensors) = model_file::load(&path).map_err(|error| bad(error.to_string()))?;
    let names = Head::random(0, tch::Device::Cpu).tensors();
    tensors.retain(|name, _| names.contains_key(name));
    Head::from_tensors(tensors, compute.device).map_err(|reason| bad(reason).into())
}
