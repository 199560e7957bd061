//! Settings of how predictions are computed.

use std::num::NonZeroUsize;

use clap::Args;

use crate::inference::overrides::{InferenceEngine, TuningOverrides};

/// Settings of how predictions are computed.
#[derive(Debug, Clone, Args)]
pub struct InferenceConfig {
    /// Threads per forward pass [default: 1 under load, tuned when a model is loaded for a single request]
    #[arg(long, env = "PAWPRINT_INFERENCE_THREADS", value_name = "N")]
    pub inference_threads: Option<NonZeroUsize>,

    /// Maximum inference batch size [default: tuned when a model is loaded]
    #[arg(long, env = "PAWPRINT_INFERENCE_BATCH", value_name = "N")]
    pub inference_batch: Option<NonZeroUsize>,

    /// What computes predictions: OpenVINO where it is faster, libtorch as in training, or OpenVINO
    #[arg(
        long,
        env = "PAWPRINT_INFERENCE_ENGINE",
        value_enum,
        default_value = "auto",
        value_name = "ENGINE"
    )]
    pub inference_engine: InferenceEngine,
}

impl InferenceConfig {
    /// What is set; the rest is tuned.
    #[must_use]
    pub const fn overrides(&self) -> TuningOverrides {
        TuningOverrides {
            threads: self.inference_threads,
            batch: self.inference_batch,
            engine: self.inference_engine,
        }
    }
}
