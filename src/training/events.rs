//! Events of a trainer for the server: JSON lines on standard output.

use std::{
    io::{self, Write as _},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::domain::{
    ModelId,
    job::{BestEpoch, Progress},
    metrics::{EpochMetrics, SplitMetrics},
    recipe::Precision,
    service::ComparisonMetrics,
};

/// Interval of progress events within a phase.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A process that is stopped, or starved by the machine, is silent for longer.
pub const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The trainer has read its folder and its checkpoint.
    Started {
        /// The device it trains on.
        device: String,
        /// The precision it trains in.
        precision: Precision,
        /// Epochs that the checkpoint had completed; later ones are repeated.
        completed_epochs: u32,
    },
    /// Progress: at each change of phase, and at most once a second in between.
    Progress(Progress),
    /// The process is alive, whatever it computes; sent every [`ALIVE_EVERY`].
    Alive,
    /// The best so far: evaluated before the first epoch, or from a checkpoint.
    Best(BestEpoch),
    /// An epoch is complete and its checkpoint written.
    Epoch {
        /// Its metrics.
        #[serde(flatten)]
        metrics: EpochMetrics,
        /// Whether it is the best so far.
        best: bool,
    },
    /// The best epoch was evaluated on the test split.
    Evaluation(SplitMetrics),
    /// The model is written; the training succeeded.
    Finished,
    /// Progress of evaluating the model in service: at most once a second.
    Comparing {
        /// Batches done.
        step: u64,
        /// All batches.
        steps: u64,
    },
    /// The model in service was evaluated on the images of the job.
    Compared {
        /// That model.
        model: ModelId,
        /// Its metrics.
        #[serde(flatten)]
        metrics: ComparisonMetrics,
    },
    /// Peak memory of the trainer in bytes, mapped images included; only a probe reports it.
    Memory {
        /// Bytes.
        peak: u64,
    },
    /// A user cancelled it.
    Cancelled,
    /// A checkpoint is saved for another trainer to resume.
    Suspended,
    /// The process has ended without a report. Sent by whoever started it on another machine.
    Died {
        /// Stable error code.
        code: String,
        /// Readable message.
        detail: String,
    },
    /// It failed.
    Failed {
        /// Stable error code.
        code: String,
        /// Readable message.
        detail: String,
    },
}

impl Event {
    /// Whether no other follows: it says how the trainer ended.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        match self {
            Self::Finished
            | Self::Compared { .. }
            | Self::Cancelled
            | Self::Suspended
            | Self::Died { .. }
            | Self::Failed { .. } => true,
            Self::Started { .. }
            | Self::Progress(_)
            | Self::Alive
            | Self::Best(_)
            | Self::Epoch { .. }
            | Self::Evaluation(_)
            | Self::Comparing { .. }
            | Self::Memory { .. } => false,
        }
    }
}

/// Where events go.
#[derive(Debug, Clone, Copy)]
pub struct Events {
    report_every: Duration,
}

impl Events {
    /// To standard output, a line each, flushed.
    #[must_use]
    pub const fn to_stdout() -> Self {
        Self { report_every: REPORT_EVERY }
    }

    /// The same, with a progress event for each step: whoever reads them measures the steps.
    #[must_use]
    pub const fn of_probe() -> Self {
        Self { report_every: Duration::ZERO }
    }

    /// Interval of progress events within a phase.
    #[must_use]
    pub const fn report_every(&self) -> Duration {
        self.report_every
    }

    /// Sends [`Event::Alive`] now and then from a thread of its own, as long as the process lives.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn keep_alive(self) -> io::Result<()> {
        let beat = move || loop {
            thread::sleep(ALIVE_EVERY);
            self.send(&Event::Alive);
        };
        thread::Builder::new().name("alive".to_owned()).spawn(beat).map(drop)
    }

    /// Sends one event. If the server is gone, `control` ends the process.
    pub fn send(&self, event: &Event) {
        match serde_json::to_string(event) {
            Ok(line) => {
                let mut stdout = io::stdout().lock();
                let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
            }
            Err(error) => tracing::error!(%error, "can't write an event"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_its_line() {
        let epoch = Event::Epoch {
            metrics: EpochMetrics {
                epoch: 3,
                train_loss: 0.6,
                train_accuracy: 0.7,
                val_loss: 0.5,
                val_accuracy: 0.75,
                learning_rate: 1e-3,
                seconds: 15.0,
                images_per_second: 200.0,
            },
            best: true,
        };
        for event in [epoch, Event::Finished] {
            let line = serde_json::to_string(&event).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        }
    }
}
