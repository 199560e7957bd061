//! Inference settings of the user.

use std::num::NonZeroUsize;

use clap::ValueEnum;
use serde::Serialize;

/// What computes the convolutions of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum InferenceEngine {
    /// OpenVINO where it is installed, agrees and is faster, else libtorch.
    #[default]
    Auto,
    /// Always libtorch, as in training.
    Libtorch,
    /// OpenVINO where it is installed and agrees, even if it is slower.
    Openvino,
}

/// Inference settings of the user; the rest is tuned.
#[derive(Debug, Clone, Copy, Default)]
pub struct TuningOverrides {
    /// Threads of one forward pass.
    pub threads: Option<NonZeroUsize>,
    /// Maximum images of one forward pass.
    pub batch: Option<NonZeroUsize>,
    /// What computes the convolutions.
    pub engine: InferenceEngine,
}
