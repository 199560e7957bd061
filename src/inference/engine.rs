//! One model, one thread, one bounded queue.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use super::network::{Loaded, Unusable};
use crate::{domain::model::ModelCard, training::device::Compute};

/// A handle on a model's thread. The thread ends when the last handle is dropped and its queue
/// is empty; so a request ends on the model it began with.
#[derive(Debug)]
pub struct Engine {
    card: ModelCard,
    queue: mpsc::Sender<Command>,
}

/// Pixels to judge, and where the answer goes.
struct Command {
    pixels: Vec<Vec<u8>>,
    reply: oneshot::Sender<Result<Answer, String>>,
    asked: Instant,
    span: Span,
}

/// What the model says, and how long it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// A logit for each image, for the second class.
    pub logits: Vec<f64>,
    /// Time in the queue.
    pub queued: Duration,
    /// Time in the network.
    pub inference: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Too many wait already.
    #[error("too many predictions are waiting")]
    QueueFull,
    /// The model failed on these images.
    #[error("the model failed: {0}")]
    Failed(String),
    /// The thread is gone.
    #[error("the model's thread has ended")]
    Gone,
}

impl Engine {
    /// Loads the model at `path` on a thread of its own and checks it.
    ///
    /// # Errors
    /// The model can't be used.
    pub async fn start(path: &Path, threads: usize, capacity: usize) -> Result<Self, Unusable> {
        let (queue, commands) = mpsc::channel(capacity);
        let (ready, started) = oneshot::channel();
        let path = path.to_owned();
        thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || {
                tch::set_num_threads(i32::try_from(threads).unwrap_or(1));
                match open(&path) {
                    Ok(model) => {
                        if ready.send(Ok(model.card().clone())).is_ok() {
                            serve(&model, commands);
                        }
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            })
            .map_err(|error| Unusable(format!("no thread could be started: {error}")))?;
        let card = started
            .await
            .unwrap_or_else(|_| Err(Unusable("its thread ended while loading it".to_owned())))?;
        Ok(Self { card, queue })
    }

    /// Where the model comes from and how to ask it.
    #[must_use]
    pub const fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Asks the model about images that are decoded and resized as its card says.
    ///
    /// # Errors
    /// The queue is full, or the model failed.
    pub async fn ask(&self, pixels: Vec<Vec<u8>>) -> Result<Answer, EngineError> {
        let (reply, answer) = oneshot::channel();
        let command = Command { pixels, reply, asked: Instant::now(), span: Span::current() };
        self.queue.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => EngineError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => EngineError::Gone,
        })?;
        answer.await.map_err(|_| EngineError::Gone)?.map_err(EngineError::Failed)
    }
}

fn open(path: &Path) -> Result<Loaded, Unusable> {
    panic::catch_unwind(|| Loaded::open(path, Compute::cpu()))
        .unwrap_or_else(|_| Err(Unusable("libtorch failed on it".to_owned())))
}

fn serve(model: &Loaded, mut commands: mpsc::Receiver<Command>) {
    while let Some(Command { pixels, reply, asked, span }) = commands.blocking_recv() {
        // Whoever asked has left: nobody waits for the answer.
        if reply.is_closed() {
            continue;
        }
        let _entered = span.enter();
        let queued = asked.elapsed();
        let begun = Instant::now();
        // libtorch's errors come as panics; one request must not take the thread with it.
        let logits = panic::catch_unwind(AssertUnwindSafe(|| model.logits(&pixels)))
            .map_err(|_| "libtorch panicked".to_owned())
            .and_then(|logits| logits.map_err(|error| error.to_string()));
        let answer = logits.map(|logits| Answer { logits, queued, inference: begun.elapsed() });
        drop(reply.send(answer));
    }
}
