//! What a dataset hides: wrong labels, near-duplicates, images that are unlike the rest, what to label
//! next, and a map, from the features of a base network.
//!
//! A function of its folder, run as `pawprint reviewer <folder>`: started by `reviews`, in a process
//! of its own without database and HTTP, with the lowest priority.
//!
//! ```text
//! spec.json        what to review, and the paths of the images    in, see `spec`
//! manifest.jsonl   the images, their labels and splits            in
//! standard input   `cancel`; its end: exit                        in, see `training::control`
//! standard output  progress and the end, one JSON line each       out, see `events`
//! standard error   the log                                        out
//! result.json      what was found, see `domain::review`           out
//! ```
//!
//! | module | what for |
//! |---|---|
//! | [`prepare`] | features and small pictures, out of the cache that trainers share |
//! | [`features`] | principal components |
//! | [`nearest`] | neighbours by features, of many images among [`cells`] |
//! | [`mislabelled`] | wrong labels, on [`classifier`] |
//! | [`duplicates`] | near-duplicates, on [`alignment`] of [`pictures`] |
//! | [`outliers`] | what is unlike the rest |
//! | [`labelling`] | what to label next |
//! | [`map`] | two dimensions |

pub mod alignment;
pub mod cells;
pub mod classifier;
pub mod compute;
pub mod duplicates;
pub mod events;
pub mod features;
pub mod labelling;
pub mod map;
pub mod mislabelled;
pub mod nearest;
pub mod outliers;
pub mod pictures;
pub mod prepare;
pub mod spec;

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
};

use self::{
    events::{Event, Reporter},
    spec::{RESULT, Spec},
};
use crate::{
    telemetry::LogFormat,
    training::{
        control::Control,
        failure::{Failure, StopReason},
    },
    weights::files,
};

/// Reviews the dataset in `folder`, and reports on standard output how it ended.
#[must_use]
pub fn run(folder: &Path) -> ExitCode {
    crate::telemetry::init(LogFormat::Text);
    // Everything else comes first.
    let _ = rustix::process::nice(19);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // libtorch's errors are panics; each must become an event with a readable message.
    let result = panic::catch_unwind(AssertUnwindSafe(|| review(folder)));
    let end = result.unwrap_or_else(|panic| Err(Failure::from_panic(&*panic).into()));
    events::send(&match end {
        Ok(()) => Event::Finished,
        Err(StopReason::Failed(Failure { code, detail })) => {
            tracing::error!(code, "{detail}");
            Event::Failed { code: code.to_owned(), detail }
        }
        Err(_) => Event::Ended,
    });
    ExitCode::SUCCESS
}

fn review(folder: &Path) -> Result<(), StopReason> {
    let failed = |error: &std::io::Error| Failure::io(folder, error);
    let control = Control::listen().map_err(|error| failed(&error))?;
    let (spec, photos) = Spec::load(folder).map_err(|error| failed(&error))?;
    tch::set_num_threads(i32::try_from(spec.threads).unwrap_or(1));
    let mut reporter = Reporter::default();
    let mut progress = |phase, done, total| {
        reporter.report(phase, done, total);
        control.check()
    };
    let review = compute::review(&spec, &photos, &mut progress)?;
    let text = serde_json::to_vec(&review).map_err(|error| failed(&error.into()))?;
    files::write(&folder.join(RESULT), &text).map_err(|error| failed(&error))?;
    tracing::info!(images = photos.len(), seconds = review.seconds, "reviewed");
    Ok(())
}
