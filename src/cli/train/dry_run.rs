//! `pawprint train --dry-run`: what a job would need, in sentences.

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::NewJob;
use crate::cli::{
    ExitStatus, Session, client,
    output::{counted, span},
};
use crate::domain::job::JobError;

/// The server's response, as far as it is read.
#[derive(Debug, Deserialize)]
struct Estimate {
    fits: bool,
    problems: Vec<JobError>,
    warnings: Vec<JobError>,
    seconds_per_epoch: Option<f64>,
    epochs: u64,
    seconds: Option<f64>,
    queue_seconds: Option<f64>,
    ends_at: Option<Timestamp>,
    memory: Need,
    disk: Need,
    probe: Probe,
}

#[derive(Debug, Deserialize)]
struct Need {
    needed: Option<u64>,
    available: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Probe {
    device: Option<String>,
    precision: Option<String>,
    images: u64,
    steps: u64,
    seconds: f64,
}

pub(super) async fn run(job: &NewJob, session: &Session) -> anyhow::Result<ExitStatus> {
    let mut body = serde_json::to_value(job)?;
    body["dry_run"] = json!(true);
    let request = session.client.request(Method::POST, &["jobs"]).json(&body);
    let response: Value = session.client.json(request).await?;
    let estimate: Estimate = client::read(&response)?;
    if session.out.is_json() {
        session.out.document(&response)?;
    } else {
        for warning in &estimate.warnings {
            session.out.note(format_args!("warning: {}", warning.detail));
        }
        for line in estimate.lines(&job.recipe, &job.dataset) {
            session.out.line(line)?;
        }
    }
    Ok(if estimate.fits { ExitStatus::Success } else { ExitStatus::Failed })
}

impl Estimate {
    fn lines(&self, recipe: &str, dataset: &str) -> Vec<String> {
        let is_known = self.memory.needed.is_some() && self.disk.needed.is_some();
        let fits = match (self.fits, is_known) {
            (true, true) => "fits",
            (true, false) => "could not be measured completely; nothing so far speaks against it",
            (false, _) => "does not fit",
        };
        let mut lines = vec![format!("{recipe} on {dataset} {fits}")];
        lines.extend(self.problems.iter().map(|problem| format!("  {}", problem.detail)));
        if let (Some(job), Some(epoch)) = (self.seconds, self.seconds_per_epoch) {
            let epochs = counted(self.epochs, "epoch");
            let of = if self.epochs == 1 { "" } else { " each" };
            let (job, epoch) = (rounded(job), short(epoch));
            lines.push(format!("time: about {job}, including {epochs} of {epoch}{of}"));
        }
        if let Some(end) = self.ends_at {
            let end = end.strftime("%Y-%m-%d %H:%M:%S UTC");
            let queue = self.queue_seconds.filter(|seconds| *seconds >= 1.0);
            let queue = queue
                .map(|seconds| format!(", after {} in the queue", rounded(seconds)))
                .unwrap_or_default();
            lines.push(format!("end: {end} if it is submitted now{queue}"));
        }
        lines.extend(self.memory.line("memory"));
        lines.extend(self.disk.line("disk"));
        let probe = &self.probe;
        // Features are classified without steps.
        let is_measured = probe.steps > 0 || self.seconds.is_some();
        if let (true, Some(device), Some(precision)) =
            (is_measured, &probe.device, &probe.precision)
        {
            let images = counted(probe.images, "training image");
            let seconds = probe.seconds;
            lines.push(format!(
                "measured with {images} on {device} in {precision}, in {seconds:.1} s"
            ));
        }
        lines
    }
}

impl Need {
    fn line(&self, what: &str) -> Option<String> {
        let needed = bytes(self.needed?);
        let available =
            self.available.map_or_else(String::new, |has| format!(", {} available", bytes(has)));
        Some(format!("{what}: {needed} needed{available}"))
    }
}

/// A duration in words, of which only the leading digits are certain.
fn rounded(seconds: f64) -> String {
    span(seconds.round() as u64)
}

/// A duration that may be a fraction of a second.
fn short(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1} s") } else { rounded(seconds) }
}

fn bytes(count: u64) -> String {
    let count = count as f64;
    if count >= 1e9 { format!("{:.1} GB", count / 1e9) } else { format!("{:.0} MB", count / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_reads_as_sentences() {
        let estimate: Estimate = serde_json::from_value(json!({
            "fits": false,
            "problems": [{ "code": "not_enough_memory", "detail": "the job needs about 9.1 GB" }],
            "warnings": [],
            "seconds_per_epoch": 12.34, "epochs": 10, "seconds": 131.2,
            "queue_seconds": 0.0, "ends_at": null,
            "memory": { "needed": 9_100_000_000_u64, "available": 4_000_000_000_u64 },
            "disk": { "needed": 20_000_000, "available": null },
            "probe": { "device": "cpu", "precision": "bf16", "images": 128, "steps": 4, "seconds": 3.21 },
        }))
        .unwrap();
        assert_eq!(
            estimate.lines("scratch_cnn", "pets"),
            [
                "scratch_cnn on pets does not fit",
                "  the job needs about 9.1 GB",
                "time: about 2m 11s, including 10 epochs of 12s each",
                "memory: 9.1 GB needed, 4.0 GB available",
                "disk: 20 MB needed",
                "measured with 128 training images on cpu in bf16, in 3.2 s",
            ]
        );
    }
}
