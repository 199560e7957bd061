//! The recipes: a page each, on the learner.

mod augmented_cnn;
mod base;
mod cross_validation;
mod feature_head;
mod features;
mod finetune;
mod logistic;
mod prepared;
mod regression;
mod scratch_cnn;

pub(crate) use self::logistic::minimise;
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
        Recipe::Features(base) => features::train(base, job, control, events),
        Recipe::FineTuning(base) => finetune::train(base, job, control, events),
    }
}
