//! The queue of a model, and how its threads take requests from it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::gradcam::Heatmap;
use crate::domain::prediction::{ModelOutput, Timing};

/// A command for the model's threads.
#[derive(Debug)]
pub(super) enum Command {
    /// The outputs for images.
    Predict(InferenceRequest<Vec<Vec<u8>>, Vec<ModelOutput>>),
    /// The output for an image, and its Grad-CAM heat map for a class, or for the predicted one.
    Explain(InferenceRequest<(Vec<u8>, Option<usize>), (ModelOutput, Heatmap)>),
}

/// Pixels, and the channel of the reply.
#[derive(Debug)]
pub(super) struct InferenceRequest<I, O> {
    pub(super) input: I,
    pub(super) reply: oneshot::Sender<Result<InferenceResult<O>, String>>,
    pub(super) enqueued_at: Instant,
    /// Counts the request as waiting, until it is dropped.
    pub(super) slot: QueueSlot,
}

/// A request's place in the count of those that wait.
#[derive(Debug)]
pub(super) struct QueueSlot(Arc<AtomicUsize>);

impl QueueSlot {
    /// One more that waits, and how many there were before it.
    pub(super) fn occupy(waiting: &Arc<AtomicUsize>) -> (Self, usize) {
        let others = waiting.fetch_add(1, Ordering::Relaxed);
        (Self(Arc::clone(waiting)), others)
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The model's output, and how long it took.
#[derive(Debug, Clone, PartialEq)]
pub struct InferenceResult<O> {
    /// The output.
    pub output: O,
    /// Time in the queue.
    pub queued: Duration,
    /// Inference time, shared with the other requests of its passes.
    pub inference: Duration,
}

impl<O> InferenceResult<O> {
    /// The timing of a request that began at `started` and took `decode` milliseconds to decode its images.
    #[must_use]
    pub fn timing(&self, started: Instant, decode: f64) -> Timing {
        Timing {
            decode,
            queue: self.queued.as_secs_f64() * 1e3,
            inference: self.inference.as_secs_f64() * 1e3,
            total: started.elapsed().as_secs_f64() * 1e3,
        }
    }
}

/// The queue for several workers: one waits on it, the others wait for their turn.
pub(super) type Commands = Mutex<mpsc::Receiver<Command>>;

/// The waiting requests, up to `batch` images, and no more than this worker's share of them; waits for
/// the first. `None` once the queue is closed.
pub(super) fn next_batch(
    commands: &Commands,
    batch: usize,
    workers: usize,
) -> Option<Vec<Command>> {
    let mut commands = commands.lock().unwrap_or_else(PoisonError::into_inner);
    let first = commands.blocking_recv()?;
    let share = 1 + commands.len() / workers;
    let mut images = first.images();
    let mut batch_commands = vec![first];
    while images < batch
        && batch_commands.len() < share
        && let Ok(next) = commands.try_recv()
    {
        images += next.images();
        batch_commands.push(next);
    }
    Some(batch_commands)
}

impl Command {
    fn images(&self) -> usize {
        match self {
            Self::Predict(request) => request.input.len(),
            Self::Explain(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(waiting: &Arc<AtomicUsize>) -> Command {
        let (reply, _) = oneshot::channel();
        let (slot, _) = QueueSlot::occupy(waiting);
        let (input, enqueued_at) = (vec![Vec::new()], Instant::now());
        Command::Predict(InferenceRequest { input, reply, enqueued_at, slot })
    }

    #[test]
    fn a_worker_takes_its_share_of_what_waits_and_no_more_than_a_batch() {
        for (workers, batch, shares) in [
            (1, 16, vec![8]),
            (2, 16, vec![4, 2, 1, 1]),
            (2, 2, vec![2, 2, 2, 1, 1]),
            (8, 16, vec![1; 8]),
        ] {
            let (queue, commands) = mpsc::channel(8);
            let (waiting, commands) = (Arc::default(), Mutex::new(commands));
            (0..8).for_each(|_| queue.try_send(request(&waiting)).unwrap());
            drop(queue);
            let taken: Vec<_> =
                std::iter::from_fn(|| next_batch(&commands, batch, workers).map(|it| it.len()))
                    .collect();
            assert_eq!(taken, shares, "{workers} workers, batches of {batch}");
        }
    }

    #[test]
    fn a_request_that_is_dropped_no_longer_waits() {
        let waiting = Arc::default();
        let (first, others) = QueueSlot::occupy(&waiting);
        assert_eq!((others, QueueSlot::occupy(&waiting).1), (0, 1));
        drop(first);
        assert_eq!(QueueSlot::occupy(&waiting).1, 0);
    }
}
