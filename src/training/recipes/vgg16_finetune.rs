//! `vgg16_finetune`: trains a head on the frozen VGG16, then fine-tunes block 5 with a low learning
//! rate on augmented images.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::{
    Prepared,
    vgg16::{DROPOUT, Given, OverFeatures},
};
use crate::{
    architectures::vgg16::{BLOCK_4, Base, Head},
    domain::{
        dataset::Sample,
        recipe::{Params, Recipe},
    },
    training::{
        control::Control,
        events::Events,
        failure::{End, Failure},
        learnable::Learnable,
        learner::{Stage, Trained},
        photos::Photos,
        spec::{HEAD, Job},
        store::Store,
    },
    weights::{model_file, tensors::Tensors},
};

struct FineTuning<'a> {
    base: &'a Base,
    head: &'a Head,
    photos: &'a Photos,
    /// Block 4's features of the validation split, which is evaluated without augmentation after
    /// every epoch.
    validation: &'a Store,
}

impl Learnable for FineTuning<'_> {
    fn weights(&self) -> Tensors {
        let mut tensors = self.base.block_5_tensors();
        tensors.extend(self.head.tensors());
        tensors
    }

    fn train(&self, batch: &[Sample], generator: &mut ChaCha8Rng) -> Tensor {
        // Nothing below block 5 has a gradient, so no activations are kept for it.
        let maps =
            tch::no_grad(|| self.base.blocks_1_to_4(&self.photos.augmented(batch, generator)));
        self.head.forward(&self.base.block_5(&maps), DROPOUT)
    }

    fn judge(&self, batch: &[Sample]) -> Tensor {
        let maps = if self.validation.holds(batch) {
            self.validation.gather(batch).permute([0, 3, 1, 2])
        } else {
            self.base.blocks_1_to_4(&self.photos.plain(batch))
        };
        self.head.forward(&self.base.block_5(&maps), 0.0)
    }
}

pub(super) fn train(job: &Job, control: &Control, events: &Events) -> Result<(), End> {
    let given = Given::load(job)?;
    let prepared = Prepared::new(job, given.normalise, control, events)?;
    let base = given.base(prepared.compute)?.unfreeze_block_5(prepared.compute.kind());
    let head = head(&given, &prepared)?;
    prepared.set_has_result();
    let layout = given.layout(&prepared, "block4", &BLOCK_4);
    let validation = prepared.extract(layout, &prepared.validation, |batch| {
        base.blocks_1_to_4(&prepared.photos.plain(batch)).permute([0, 2, 3, 1])
    })?;
    let recipe =
        FineTuning { base: &base, head: &head, photos: &prepared.photos, validation: &validation };
    let trained = prepared.fit(Stage::FineTuning, &recipe)?;
    prepared.finish(&recipe, trained, given.made(recipe.weights(), prepared.preprocessing))
}

/// The initial head of fine-tuning: of another job, or trained by this one.
fn head(given: &Given, prepared: &Prepared<'_>) -> Result<Head, End> {
    let Prepared { job, compute, .. } = *prepared;
    let params = &job.spec.params;
    let Some(head_epochs) = params.head_epochs else { return head_of_other_job(job, compute) };
    let head = Head::random(params.seed, compute.device);
    // Its weights are in the checkpoint then.
    if prepared.resumes {
        return Ok(head);
    }
    let base = given.base(compute)?.fixed(compute.kind());
    let samples = [&*prepared.train, &*prepared.validation].concat();
    let features = given.features(prepared, &base, &samples)?;
    let Params { batch_size, seed, precision, device, .. } = *params;
    let own = Recipe::Vgg16Features.defaults();
    let params = Params { epochs: head_epochs, batch_size, seed, precision, device, ..own };
    let Trained { best, .. } =
        prepared.fit_head(&params, &OverFeatures { head: &head, features: &features })?;
    tracing::info!(best.epoch, best.val_loss, best.val_accuracy, "head trained");
    Ok(head)
}

fn head_of_other_job(job: &Job, compute: crate::device::Compute) -> Result<Head, End> {
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
