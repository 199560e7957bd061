//! The time that an epoch takes, across an interruption.

use std::time::Instant;

/// A clock that runs.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    before: f64,
    started: Instant,
}

impl Clock {
    /// Goes on from so many seconds, which an earlier trainer has spent.
    #[must_use]
    pub fn resume_at(seconds: f64) -> Self {
        Self { before: seconds, started: Instant::now() }
    }

    /// Seconds in all.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }
}
