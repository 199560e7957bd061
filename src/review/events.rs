//! What a review reports: JSON lines on standard output.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Between two reports of progress in one phase.
const EVERY: Duration = Duration::from_millis(500);

/// What a review does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Computes features of images.
    Features,
    /// Compares images with each other.
    Comparing,
    /// Checks the labels.
    Labels,
    /// Measures what choosing images to label gains.
    Labelling,
    /// Draws the map.
    Map,
}

/// How far a review is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Steps of the phase that are done.
    pub done: u64,
    /// All its steps.
    pub total: u64,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Progress.
    Progress(Progress),
    /// The result is written.
    Finished,
    /// It was asked to end.
    Ended,
    /// It failed.
    Failed {
        /// Stable error code.
        code: String,
        /// Readable message.
        detail: String,
    },
}

/// Sends one event.
pub fn send(event: &Event) {
    match serde_json::to_string(event) {
        Ok(line) => {
            let mut stdout = io::stdout().lock();
            let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
        }
        Err(error) => tracing::error!(%error, "can't write an event"),
    }
}

/// Sends progress, each phase's beginning and then now and then.
#[derive(Debug, Default)]
pub struct Reporter {
    last: Option<(Phase, Instant)>,
}

impl Reporter {
    /// Sends it if it is time.
    pub fn report(&mut self, phase: Phase, done: usize, total: usize) {
        let recent = self.last.is_some_and(|(last, at)| last == phase && at.elapsed() < EVERY);
        if !recent {
            self.last = Some((phase, Instant::now()));
            send(&Event::Progress(Progress { phase, done: done as u64, total: total as u64 }));
        }
    }
}
