//! Inference settings of the user.

use std::num::NonZeroUsize;

/// Inference settings of the user; the rest is tuned.
#[derive(Debug, Clone, Copy, Default)]
pub struct TuningOverrides {
    /// Threads of one forward pass.
    pub threads: Option<NonZeroUsize>,
    /// Maximum images of one forward pass.
    pub batch: Option<NonZeroUsize>,
}
