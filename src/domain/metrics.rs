//! What is measured of an epoch and of a finished model.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One completed epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EpochMetrics {
    /// Its number, from 1.
    pub epoch: u32,
    /// Mean binary cross-entropy over the training images, as they were seen.
    pub train_loss: f64,
    /// Accuracy on the training images, as they were seen.
    pub train_accuracy: f64,
    /// Mean binary cross-entropy over the validation split after the epoch.
    pub val_loss: f64,
    /// Accuracy on the validation split after the epoch.
    pub val_accuracy: f64,
    /// Step size of the epoch.
    pub learning_rate: f64,
    /// Wall-clock time of the epoch, validation included.
    pub seconds: f64,
    /// Training and validation images per second of that time.
    pub images_per_second: f64,
}

impl EpochMetrics {
    /// The names of the fields, in their order.
    pub const FIELDS: [&str; 8] = [
        "epoch",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "seconds",
        "images_per_second",
    ];
}

/// Loss and accuracy over one split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SplitMetrics {
    /// Images judged.
    pub count: u64,
    /// Mean binary cross-entropy.
    pub loss: f64,
    /// Accuracy at threshold 0.5.
    pub accuracy: f64,
}
