//! One model, its threads, one bounded queue.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    gradcam::Map,
    network::Unusable,
    queue::{Answer, Command, Place, Request},
    tuning::{Tuning, Tunings},
    worker,
};
use crate::{device::Compute, domain::model::ModelCard};

/// Settings of every model's engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The tuned inference settings.
    pub tunings: Tunings,
    /// Maximum requests in the queue.
    pub capacity: usize,
    /// Timeout of a request.
    pub deadline: Duration,
}

/// A handle on a model's threads. They end when the last handle is dropped and the queue is empty,
/// so a request finishes on the model it began with.
#[derive(Debug)]
pub struct Engine {
    card: ModelCard,
    tuning: Tuning,
    deadline: Duration,
    waiting: Arc<AtomicUsize>,
    queue: mpsc::Sender<Command>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The queue is full.
    #[error("too many prediction requests are in progress")]
    QueueFull,
    /// The request timed out.
    #[error("the prediction timed out after {} s", .0.as_secs_f64())]
    TooLate(Duration),
    /// The model failed on these images.
    #[error("the model failed: {0}")]
    Failed(String),
    /// The threads have ended.
    #[error("the model's threads have ended")]
    Gone,
}

impl Engine {
    /// Loads the model at `path` on threads of its own, checks it and warms it up.
    ///
    /// # Errors
    /// The model can't be used.
    pub async fn start(path: PathBuf, settings: Settings) -> Result<Self, Unusable> {
        let Settings { tunings, capacity, deadline } = settings;
        let (queue, commands) = mpsc::channel(capacity);
        let (ready, started) = oneshot::channel();
        let first = move || match worker::open(&path, Compute::cpu(), &tunings) {
            Ok((model, tuning)) => {
                let commands = Arc::new(Mutex::new(commands));
                let others: Result<Vec<_>, _> = (1..tuning.workers)
                    .map(|_| {
                        let (model, commands) = (model.share(), Arc::clone(&commands));
                        spawn(move || worker::run(&model, tuning, &commands))
                    })
                    .collect();
                // If not all could be started, the queue closes, and the others end.
                let answer = others.map(|_| (model.card().clone(), tuning));
                let started = answer.is_ok();
                if ready.send(answer).is_ok() && started {
                    worker::run(&model, tuning, &commands);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        spawn(first)?;
        let (card, tuning) = started.await.unwrap_or_else(|_| {
            Err(Unusable("the loading thread ended unexpectedly".to_owned()))
        })?;
        Ok(Self { card, tuning, deadline, waiting: Arc::default(), queue })
    }

    /// The card of the model.
    #[must_use]
    pub const fn card(&self) -> &ModelCard {
        &self.card
    }

    /// How the model is run.
    #[must_use]
    pub const fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// Requests in the queue or in progress.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The logits, for the second class, of images that are preprocessed as the card says.
    ///
    /// # Errors
    /// The queue is full, the deadline has passed, or the model failed.
    pub async fn judge(&self, images: Vec<Vec<u8>>) -> Result<Answer<Vec<f64>>, EngineError> {
        self.ask(images, Command::Judge).await
    }

    /// The logit, for the second class, of an image that is preprocessed as the card says, and its
    /// Grad-CAM heat map.
    ///
    /// # Errors
    /// As [`Engine::judge`].
    pub async fn explain(&self, image: Vec<u8>) -> Result<Answer<(f64, Map)>, EngineError> {
        self.ask(image, Command::Explain).await
    }

    async fn ask<I, O>(
        &self,
        input: I,
        command: impl FnOnce(Request<I, O>) -> Command,
    ) -> Result<Answer<O>, EngineError> {
        let (reply, answer) = oneshot::channel();
        let place = Place::among(&self.waiting);
        let request = Request { input, reply, asked: Instant::now(), _place: place };
        self.queue.try_send(command(request)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => EngineError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => EngineError::Gone,
        })?;
        // A caller that no longer waits drops the receiver, and the worker skips the request.
        tokio::time::timeout(self.deadline, answer)
            .await
            .map_err(|_| EngineError::TooLate(self.deadline))?
            .map_err(|_| EngineError::Gone)?
            .map_err(EngineError::Failed)
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), Unusable> {
    let thread = thread::Builder::new().name("model".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| Unusable(format!("can't start a thread: {error}")))
}
