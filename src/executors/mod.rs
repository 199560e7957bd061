//! Where trainers run. An executor starts the trainer of a job and hands out a [`Run`]: what it
//! reports, a way to send it commands, and its end. What the scheduler does with a run doesn't depend
//! on the executor.

pub mod local;

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::job::JobError,
    training::{control::Command, events::Event},
};

/// A trainer that runs somewhere.
#[derive(Debug)]
pub struct Run {
    /// Its events, in order. Closed when the trainer has ended.
    pub events: mpsc::Receiver<Event>,
    /// Commands to it.
    pub commands: mpsc::UnboundedSender<Command>,
    /// Cancelled, it kills the trainer.
    pub kill: CancellationToken,
    /// How the trainer ended, if it has not reported it.
    pub ended: JoinHandle<JobError>,
}
