//! A thread of a model: takes requests from the queue, runs the network, and replies.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    time::Instant,
};

use super::{
    network::{Loaded, Unusable},
    queue::{Answer, Command, Commands, Request, take},
    tuning::{Tuning, Tunings, set_threads},
};
use crate::device::Compute;

/// Loads the model at `path` and warms it up.
pub(super) fn open(
    path: &Path,
    compute: Compute,
    tunings: &Tunings,
) -> Result<(Loaded, Tuning), Unusable> {
    let open = || {
        let model = Loaded::open(path, compute)?;
        let tuning = tunings.warm_up(&model)?;
        Ok((model, tuning))
    };
    panic::catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(Unusable("libtorch failed to load it".to_owned())))
}

/// Handles requests until the queue is closed and empty.
pub(super) fn run(model: &Loaded, tuning: Tuning, commands: &Commands) {
    set_threads(tuning.threads);
    while let Some(taken) = take(commands, tuning.batch) {
        let mut together = Vec::new();
        for command in taken {
            match command {
                // The caller has left.
                Command::Judge(request) if request.reply.is_closed() => {}
                Command::Explain(request) if request.reply.is_closed() => {}
                Command::Judge(request) => together.push(request),
                Command::Explain(Request { input, reply, asked, _place }) => {
                    let begun = Instant::now();
                    let output = guarded(|| model.explain(&input));
                    let (queued, inference) = (begun - asked, begun.elapsed());
                    drop(reply.send(output.map(|output| Answer { output, queued, inference })));
                }
            }
        }
        judge(model, tuning.batch, together);
    }
}

/// One forward pass after the other over the images of all requests; each gets its own reply.
fn judge(model: &Loaded, batch: usize, requests: Vec<Request<Vec<Vec<u8>>, Vec<f64>>>) {
    let begun = Instant::now();
    let (images, waiting): (Vec<_>, Vec<_>) = requests
        .into_iter()
        .map(|Request { input, reply, asked, _place }| (input, (reply, asked, _place)))
        .unzip();
    let counts: Vec<_> = images.iter().map(Vec::len).collect();
    let images: Vec<_> = images.into_iter().flatten().collect();
    let logits = guarded(|| {
        images.chunks(batch).try_fold(Vec::with_capacity(images.len()), |mut logits, images| {
            logits.extend(model.forward(images)?);
            Ok(logits)
        })
    })
    .and_then(|logits: Vec<f64>| match logits.iter().any(|logit| logit.is_nan()) {
        true => Err("the network's output is NaN".to_owned()),
        false => Ok(logits),
    });
    let inference = begun.elapsed();
    let mut next = 0;
    for ((reply, asked, _place), count) in waiting.into_iter().zip(counts) {
        let mine = next..next + count;
        next = mine.end;
        let output = logits.as_ref().map(|logits| logits[mine].to_vec()).map_err(Clone::clone);
        let queued = begun - asked;
        drop(reply.send(output.map(|output| Answer { output, queued, inference })));
    }
}

/// libtorch's errors are panics too; one request must not end the thread.
fn guarded<T>(work: impl FnOnce() -> Result<T, tch::TchError>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| "libtorch panicked".to_owned())
        .and_then(|done| done.map_err(|error| error.to_string()))
}
