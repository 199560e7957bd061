//! Metrics of an epoch and of a finished model.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One completed epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EpochMetrics {
    /// Epoch, starting at 1.
    pub epoch: u32,
    /// Mean training loss (cross-entropy), computed during the epoch.
    pub train_loss: f64,
    /// Training accuracy, computed during the epoch.
    pub train_accuracy: f64,
    /// Mean validation loss (cross-entropy) after the epoch; of `efficientnet_lite0_finetune` after
    /// temperature scaling.
    pub val_loss: f64,
    /// Validation accuracy after the epoch.
    pub val_accuracy: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Duration of the epoch in seconds, validation included.
    pub seconds: f64,
    /// Training and validation images processed per second.
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SplitMetrics {
    /// Number of images.
    pub count: u64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Accuracy, of two classes at threshold 0.5.
    pub accuracy: f64,
}
