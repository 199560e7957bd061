//! One model, its threads, one bounded queue.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    gradcam::Map,
    network::Unusable,
    tuning::{Tuning, Tunings},
    worker,
};
use crate::{domain::model::ModelCard, training::device::Compute};

/// Settings of every model's engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How models run best.
    pub tunings: Tunings,
    /// Requests that may wait.
    pub capacity: usize,
    /// How long a request waits for its answer.
    pub deadline: Duration,
}

/// A handle on a model's threads. They end when the last handle is dropped and the queue is
/// empty; so a request ends on the model it began with.
#[derive(Debug)]
pub struct Engine {
    card: ModelCard,
    tuning: Tuning,
    deadline: Duration,
    waiting: Arc<AtomicUsize>,
    queue: mpsc::Sender<Command>,
}

/// Something to ask of the model.
#[derive(Debug)]
pub(super) enum Command {
    /// The logits of images.
    Judge(Request<Vec<Vec<u8>>, Vec<f64>>),
    /// The logit of an image, and where the network looks.
    Explain(Request<Vec<u8>, (f64, Map)>),
}

/// Pixels, and where the answer goes.
#[derive(Debug)]
pub(super) struct Request<I, O> {
    pub(super) input: I,
    pub(super) reply: oneshot::Sender<Result<Answer<O>, String>>,
    pub(super) asked: Instant,
    /// Counts the request among those that wait, until it is dropped.
    pub(super) _place: Place,
}

/// A request's place in the count of those that wait.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the model says, and how long it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<O> {
    /// What it says.
    pub output: O,
    /// Time in the queue.
    pub queued: Duration,
    /// Time in the network, with those that shared its passes.
    pub inference: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Too many wait already.
    #[error("too many predictions are waiting")]
    QueueFull,
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TooLate(Duration),
    /// The model failed on these images.
    #[error("the model failed: {0}")]
    Failed(String),
    /// The threads are gone.
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
                // Where not all could be started, the queue closes, and those that were end.
                let answer = others.map(|_| (model.card().clone(), tuning));
                let started = answer.is_ok();
                if ready.send(answer).is_ok() && started {
                    worker::run(&model, tuning, &commands);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        spawn(first)?;
        let (card, tuning) = started
            .await
            .unwrap_or_else(|_| Err(Unusable("its thread ended while loading it".to_owned())))?;
        Ok(Self { card, tuning, deadline, waiting: Arc::default(), queue })
    }

    /// Where the model comes from and how to ask it.
    #[must_use]
    pub const fn card(&self) -> &ModelCard {
        &self.card
    }

    /// How the model is run.
    #[must_use]
    pub const fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// Requests that wait for the model or are on it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The logits, for the second class, of images that are decoded and resized as the card says.
    ///
    /// # Errors
    /// The queue is full, the deadline has passed, or the model failed.
    pub async fn judge(&self, images: Vec<Vec<u8>>) -> Result<Answer<Vec<f64>>, EngineError> {
        self.ask(images, Command::Judge).await
    }

    /// The logit, for the second class, of an image that is decoded and resized as the card says,
    /// and where in it the network looks.
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
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.waiting));
        let request = Request { input, reply, asked: Instant::now(), _place: place };
        self.queue.try_send(command(request)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => EngineError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => EngineError::Gone,
        })?;
        // Whoever waits no longer drops the receiver, and the worker passes the request over.
        tokio::time::timeout(self.deadline, answer)
            .await
            .map_err(|_| EngineError::TooLate(self.deadline))?
            .map_err(|_| EngineError::Gone)?
            .map_err(EngineError::Failed)
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), Unusable> {
    let thread = thread::Builder::new().name("model".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| Unusable(format!("no thread could be started: {error}")))
}

/// The queue as several workers take from it: one waits on it, the others for their turn.
pub(super) type Commands = Mutex<mpsc::Receiver<Command>>;

/// What waits in the queue, up to `batch` images; it is waited for the first. Nothing where no
/// more can come.
pub(super) fn take(commands: &Commands, batch: usize) -> Option<Vec<Command>> {
    let mut commands = commands.lock().unwrap_or_else(PoisonError::into_inner);
    let first = commands.blocking_recv()?;
    let mut images = first.images();
    let mut taken = vec![first];
    while images < batch
        && let Ok(next) = commands.try_recv()
    {
        images += next.images();
        taken.push(next);
    }
    Some(taken)
}

impl Command {
    fn images(&self) -> usize {
        match self {
            Self::Judge(request) => request.input.len(),
            Self::Explain(_) => 1,
        }
    }
}
