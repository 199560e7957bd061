//! A thread of a model: takes requests from the queue, runs the network, and replies.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    time::{Duration, Instant},
};

use super::{
    network::{LoadedModel, ModelLoadError},
    queue::{Command, Commands, InferenceRequest, InferenceResult, next_batch},
    thread_choice::ThreadChoice,
    tuning::{InferenceConfig, TuningCache, set_threads},
};
use crate::{device::ComputeConfig, domain::prediction::ModelOutput};

/// Loads the model at `path` and warms it up.
pub(super) fn open(
    path: &Path,
    compute: ComputeConfig,
    tuning_cache: &TuningCache,
) -> Result<(LoadedModel, InferenceConfig), ModelLoadError> {
    let open = || {
        let model = LoadedModel::open(path, compute)?;
        let config = tuning_cache.warm_up(&model)?;
        Ok((model, config))
    };
    panic::catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(ModelLoadError("libtorch failed to load it".to_owned())))
}

/// What a worker does of the work of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// Threads of each pass.
    pub(super) threads: usize,
    /// Maximum images of a pass.
    pub(super) batch: usize,
    /// Workers of the queue.
    pub(super) workers: usize,
}

/// Handles requests until the queue is closed and empty.
pub(super) fn run(model: &LoadedModel, share: Share, commands: &Commands) {
    let Share { threads, batch, workers } = share;
    set_threads(threads);
    while let Some(batch_commands) = next_batch(commands, batch, workers) {
        handle(model, batch, batch_commands);
    }
}

/// As [`run`], one request at a time, with as many threads as are fastest at that time.
pub(super) fn run_alone(
    model: &LoadedModel,
    mut choice: ThreadChoice,
    batch: usize,
    commands: &Commands,
) {
    let mut with_openvino: Option<ThreadChoice> = None;
    while let Some(command) = next_batch(commands, 1, 1) {
        let choice = match model.convolutions().thread_choice() {
            Some(measured) => with_openvino.get_or_insert_with(|| measured.clone()),
            None => &mut choice,
        };
        let threads = choice.next();
        set_threads(threads);
        if let Some(time) = handle(model, batch, command) {
            choice.record(threads, time);
        }
    }
}

/// Handles commands. The time of the forward pass if there was one, over one image, and it succeeded.
fn handle(model: &LoadedModel, batch: usize, commands: Vec<Command>) -> Option<Duration> {
    let mut together = Vec::new();
    for command in commands {
        match command {
            // The caller has left.
            Command::Predict(request) if request.reply.is_closed() => {}
            Command::Explain(request) if request.reply.is_closed() => {}
            Command::Predict(request) => together.push(request),
            Command::Explain(InferenceRequest { input, reply, enqueued_at, slot }) => {
                let started = Instant::now();
                let (image, class) = input;
                let output = catch_panic(|| model.explain(&image, class));
                let (queued, inference) = (started - enqueued_at, started.elapsed());
                // First: whoever gets the reply may have sent the next request before it is dropped.
                drop(slot);
                drop(reply.send(output.map(|output| InferenceResult {
                    output,
                    queued,
                    inference,
                })));
            }
        }
    }
    let images: usize = together.iter().map(|request| request.input.len()).sum();
    predict_batch(model, batch, together).filter(|_| images == 1)
}

/// One forward pass after the other over the images of all requests; each gets its own reply. The time
/// of all passes, if they succeeded.
fn predict_batch(
    model: &LoadedModel,
    batch: usize,
    requests: Vec<InferenceRequest<Vec<Vec<u8>>, Vec<ModelOutput>>>,
) -> Option<Duration> {
    let started = Instant::now();
    let (images, waiting): (Vec<_>, Vec<_>) = requests
        .into_iter()
        .map(|InferenceRequest { input, reply, enqueued_at, slot }| {
            (input, (reply, enqueued_at, slot))
        })
        .unzip();
    let counts: Vec<_> = images.iter().map(Vec::len).collect();
    let images: Vec<_> = images.into_iter().flatten().collect();
    let logits = catch_panic(|| {
        images.chunks(batch).try_fold(Vec::with_capacity(images.len()), |mut logits, images| {
            logits.extend(model.forward(images)?);
            Ok(logits)
        })
    })
    .and_then(|logits: Vec<ModelOutput>| {
        match logits.iter().all(|it| it.logits.are_numbers()) {
            true => Ok(logits),
            false => Err("the network's output is NaN".to_owned()),
        }
    });
    let inference = started.elapsed();
    let mut next = 0;
    for ((reply, enqueued_at, slot), count) in waiting.into_iter().zip(counts) {
        let mine = next..next + count;
        next = mine.end;
        let output = logits.as_ref().map(|logits| logits[mine].to_vec()).map_err(Clone::clone);
        let queued = started - enqueued_at;
        drop(slot);
        drop(reply.send(output.map(|output| InferenceResult { output, queued, inference })));
    }
    logits.is_ok().then_some(inference)
}

/// libtorch's errors are panics too; one request must not end the thread.
fn catch_panic<T>(work: impl FnOnce() -> Result<T, tch::TchError>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| "libtorch panicked".to_owned())
        .and_then(|done| done.map_err(|error| error.to_string()))
}
