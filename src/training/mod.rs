//! The trainer: a function of its job folder, run as `pawprint trainer <folder>`; and with
//! `--compare <model>`, the evaluation of another model on the images of that job, see `compare`. With
//! `--probe` it also reports each of its steps and its peak memory: `scheduler::probe` measures a small
//! job in that way.
//!
//! Started by `executors::local`, in a process of its own without database and HTTP.
//!
//! ```text
//! spec.json           what to train, and the paths of the images    in, see `spec`
//! manifest.jsonl      the snapshot: images, labels and splits       in
//! vgg16.safetensors   weights of a base network, for some recipes   in
//! head.safetensors    the model with the initial head, for some     in
//! standard input      `cancel`, `stop`, `suspend`; its end: exit    in, see `control`
//! standard output     events, one JSON line each                    out, see `events`
//! standard error      the log                                       out
//! checkpoints/        the last two checkpoints                      out
//! evaluation.json     the test evaluation of the best epoch         out
//! model.safetensors   the model                                     out
//! ```

pub mod augment;
pub mod cache;
mod calibrate;
pub mod clock;
mod compare;
pub mod control;
pub mod evaluate;
pub mod events;
pub mod failure;
pub mod features;
pub mod finish;
pub mod image_cache;
pub mod input_pipeline;
pub mod lbfgs;
pub mod learner;
pub mod loss;
pub mod optimizer;
pub mod policy;
pub mod recipes;
pub mod record_store;
pub mod rng;
pub mod spec;
pub mod trainable;

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
};

use self::{
    control::Control,
    events::{Event, Events},
    failure::{Failure, StopReason},
    spec::Job,
};
use crate::telemetry::LogFormat;

/// Trains the job in `folder`, or evaluates the model in the file `compared` on its images, and
/// reports on standard output how it ended; as a `probe`, each step and its peak memory too.
#[must_use]
pub fn run(folder: &Path, compared: Option<&Path>, probe: bool) -> ExitCode {
    crate::telemetry::init(LogFormat::Text);
    let events = if probe { Events::of_probe() } else { Events::to_stdout() };
    lower_priority();
    let control = match Control::listen().and_then(|it| events.keep_alive().map(|()| it)) {
        Ok(control) => control,
        // There is no memory for its stack, most often.
        Err(error) => {
            let message = format!("failed to spawn thread: {error}");
            return report(&events, Failure::out_of_memory(&message).into());
        }
    };
    // libtorch's errors are panics; each must become an event with a readable message.
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        let job = Job::load(folder)?;
        tch::set_num_threads(i32::try_from(job.spec.threads).unwrap_or(1));
        match compared {
            Some(model) => compare::compare(&job, model, &control, &events),
            None => recipes::train(&job, &control, &events).map(|()| Event::Finished),
        }
    }));
    let peak = log_memory();
    if let Some(peak) = peak.filter(|_| probe) {
        events.send(&Event::Memory { peak });
    }
    match result.unwrap_or_else(|panic| Err(Failure::from_panic(&*panic).into())) {
        Ok(last) => {
            events.send(&last);
            ExitCode::SUCCESS
        }
        Err(end) => report(&events, end),
    }
}

/// Sends how training ended before it was done.
fn report(events: &Events, end: StopReason) -> ExitCode {
    events.send(&match end {
        StopReason::Cancelled => Event::Cancelled,
        StopReason::Suspended => Event::Suspended,
        StopReason::Stopped => failed(Failure::nothing_to_keep()),
        StopReason::Failed(failure) => failed(failure),
    });
    ExitCode::SUCCESS
}

fn failed(Failure { code, detail }: Failure) -> Event {
    tracing::error!(code, "{detail}");
    Event::Failed { code: code.to_owned(), detail }
}

/// Logs the trainer's memory usage, and returns its peak in bytes, if the system reports it.
fn log_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let (peak, anonymous) = (kilobytes("VmHWM:"), kilobytes("RssAnon:"));
    if let (Some(peak), Some(anonymous)) = (peak, anonymous) {
        let (peak_mb, anonymous_mb) = (peak / 1024, anonymous / 1024);
        tracing::info!(
            peak_mb,
            anonymous_mb,
            "memory usage: peak resident (mapped images included) and current anonymous"
        );
    }
    peak.map(|peak| peak * 1024)
}

/// Predictions come first: lowers this process's priority, and makes it the first that the system
/// kills when memory runs out. Training continues even if this fails.
fn lower_priority() {
    let _ = rustix::process::nice(10);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}
