//! The table of parameters.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::parameter::{Parameter, choice, integer, job, number};
use crate::domain::{
    JobId,
    class_weights::ClassWeights,
    recipe::{
        DeviceChoice, PrecisionChoice, Recipe,
        Recipe::{AugmentedCnn, Features, FineTuning},
    },
    schedule::Schedule,
};

/// Seeds stay exact in JSON readers that hold every number as a double.
const MAX_SEED: u64 = (1 << 53) - 1;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(rate: &f64) -> bool {
    *rate == 0.0
}

/// Declares [`Params`] and [`PARAMETERS`]. A parameter that is added needs `#[serde(default)]`,
/// because older jobs and models do not have it.
macro_rules! parameters {
    ($($(#[$attribute:meta])* $name:ident: $type:ty = $parameter:expr;)*) => {
        /// Training parameters of a job, defaults included.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "each field is described in `PARAMETERS`")]
        pub struct Params {
            $($(#[$attribute])* pub $name: $type,)*
        }

        /// All parameters, in the order of forms and help.
        pub const PARAMETERS: &[Parameter] = &[
            $($parameter.named(stringify!($name)),)*
        ];
    };
}

parameters! {
    epochs: u32 = integer("Epochs", 1, 10_000, |recipe| match recipe {
        AugmentedCnn => json!(50),
        Features(base) => json!(base.head.epochs()),
        FineTuning(base) => json!(base.fine_tuning.epochs),
        Recipe::ScratchCnn => json!(30),
    })
    .described("Passes over the training images; for logistic regression on features: strengths of the regularisation, of which the best is kept");

    batch_size: u32 = integer("Batch size", 1, 1_024, |_| json!(32))
        .described("Images per optimizer step");

    #[serde(default, skip_serializing_if = "is_zero")]
    learning_rate: f64 = number("Learning rate", 0.0, 10_000.0, |recipe| match recipe {
        FineTuning(base) => json!(base.fine_tuning.learning_rate),
        _ => json!(1e-3),
    })
    .described("Learning rate of RMSprop. If it is too high, the loss diverges or becomes NaN")
    .only(Recipe::takes_steps);

    #[serde(default, skip_serializing_if = "Option::is_none")]
    learning_rate_schedule: Option<Schedule> =
        choice("Learning rate schedule", &["constant", "cosine"], |recipe| match recipe {
            FineTuning(base) => json!(base.fine_tuning.schedule),
            _ => json!(Schedule::Constant),
        })
            .described("cosine decays the learning rate to almost zero by the last epoch")
            .only(Recipe::takes_steps);

    seed: u64 = integer("Seed", 0, MAX_SEED, |_| json!(0))
        .described("Random seed. On the same CPU setup, the same seed reproduces a run");

    early_stopping_patience: Option<u32> =
        integer("Early stopping patience", 1, 10_000, |_| Value::Null)
            .described("Stop after this many epochs without a lower validation loss; disabled by default");

    #[serde(default)]
    class_weights: ClassWeights = choice("Class weights", &["none", "balanced"], |_| json!("none"))
        .described("balanced makes each class count the same, however many training images it has");

    precision: PrecisionChoice = choice("Precision", &["auto", "fp32", "bf16"], |_| json!("auto"))
        .described("auto uses bf16 if the device supports it natively, otherwise fp32");

    device: DeviceChoice = choice("Device", &["auto", "cpu", "cuda"], |_| json!("auto"))
        .described("auto uses an NVIDIA GPU if available, otherwise the CPU");

    #[serde(default, skip_serializing_if = "Option::is_none")]
    head_epochs: Option<u32> = integer("Head epochs", 1, 10_000, |recipe| {
        json!(recipe.base().map(|base| base.head.epochs()))
    })
        .described("Epochs for training the head before fine-tuning, with the defaults of the recipe for features of the same network")
        .only(|recipe| matches!(recipe, FineTuning(_)))
        .excluded_by("head_from");

    #[serde(default, skip_serializing_if = "Option::is_none")]
    head_from: Option<JobId> = job("Head")
        .described("Job on the same dataset version whose head to start from: of the recipe for features of the same network")
        .only(|recipe| matches!(recipe, FineTuning(_)));
}
