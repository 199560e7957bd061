//! What a person sets of how models run.

use std::num::NonZeroUsize;

/// What a person has set; the rest is measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct TuningOverrides {
    /// Threads of one forward pass.
    pub threads: Option<NonZeroUsize>,
    /// Images of one forward pass.
    pub batch: Option<NonZeroUsize>,
}
