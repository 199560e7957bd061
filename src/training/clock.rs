//! The time of an epoch, across interruptions.

use std::time::Instant;

/// A running clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    before: f64,
    started: Instant,
}

impl Clock {
    /// Continues from this number of seconds, which an earlier trainer has spent.
    #[must_use]
    pub fn resume_at(seconds: f64) -> Self {
        Self { before: seconds, started: Instant::now() }
    }

    /// Total seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }
}
