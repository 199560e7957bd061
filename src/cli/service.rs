//! Whether the model of a job went into service, in one sentence.

use super::responses::{Job, Service};

/// What happened to the model of `job`, which follows its name; nothing until it is decided.
pub(super) fn sentence(job: &Job) -> Option<String> {
    let Service { decision, reason } = job.service.as_ref()?;
    Some(if decision == "in_service" {
        format!("went into service: {reason}")
    } else {
        format!(
            "did not go into service: {reason}; to use it anyway: `pawprint models use {}`",
            job.name
        )
    })
}

/// The same in a cell of a table.
pub(super) fn cell(service: Option<&Service>) -> String {
    match service.map(|service| &*service.decision) {
        None => "-".to_owned(),
        Some("in_service") => "was selected".to_owned(),
        Some("pinned") => "another pinned".to_owned(),
        Some("kept" | "guessing") => "not selected".to_owned(),
        Some(other) => other.replace('_', " "),
    }
}
