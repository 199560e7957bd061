//! The recipes: a page each, on the learner.

mod augmented_cnn;
mod efficientnet_lite0_features;
mod prepared;
mod scratch_cnn;
mod vgg16;
mod vgg16_features;
mod vgg16_finetune;

use self::prepared::PreparedJob;
use super::{control::Control, events::Events, failure::StopReason, spec::Job};
use crate::domain::recipe::Recipe;

/// Trains `job` by its recipe, to a model in its folder.
///
/// # Errors
/// Whatever ended it before that.
pub fn train(job: &Job, control: &Control, events: &Events) -> Result<(), StopReason> {
    match job.spec.recipe {
        Recipe::ScratchCnn => scratch_cnn::train(job, control, events),
        Recipe::AugmentedCnn => augmented_cnn::train(job, control, events),
        Recipe::EfficientnetLite0Features => {
            efficientnet_lite0_features::train(job, control, events)
        }
        Recipe::Vgg16Features => vgg16_features::train(job, control, events),
        Recipe::Vgg16Finetune => vgg16_finetune::train(job, control, events),
    }
}
