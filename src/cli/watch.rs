//! `pawprint watch`: a job's epochs as they complete, until it finishes.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    events::{Events, Next},
    output::{Output, span},
    progress,
    responses::{Job, Model, Placement, Progress},
    service,
};
use crate::domain::{
    job::JobStatus,
    metrics::{EpochMetrics, SplitMetrics},
};

/// Options of `pawprint watch`.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Name or id of the job
    #[arg(value_parser = reference)]
    job: String,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

impl Watch {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        follow(session, &self.job, &self.job).await
    }
}

/// Follows a job until it finishes or Ctrl-C is pressed.
pub(super) async fn follow(session: &Session, job: &str, name: &str) -> anyhow::Result<ExitStatus> {
    let bar = progress::job(session.out);
    let mut view =
        View { session, bar: bar.clone(), status: None, placement: None, epoch: 0, test: None };
    let status = tokio::select! {
        status = view.follow(job) => status,
        pressed = tokio::signal::ctrl_c() => {
            bar.finish_and_clear();
            session.out.note(format_args!("the job keeps running; cancel it with `pawprint cancel {name}`"));
            pressed.context("can't wait for Ctrl-C").map(|()| ExitStatus::Interrupted)
        }
    };
    bar.finish_and_clear();
    status
}

/// What was shown so far.
struct View<'a> {
    session: &'a Session,
    bar: ProgressBar,
    status: Option<JobStatus>,
    placement: Option<Placement>,
    /// The last epoch that was shown: epochs that a restarted server repeats are not shown again.
    epoch: u32,
    test: Option<SplitMetrics>,
}

impl View<'_> {
    async fn follow(&mut self, id: &str) -> anyhow::Result<ExitStatus> {
        let out = self.session.out;
        let mut events = Events::new(&self.session.client, id);
        loop {
            let event = match events.next().await? {
                Next::Event(event) => event,
                Next::Disconnected(reason) => {
                    self.show_disconnect(&reason);
                    continue;
                }
            };
            if out.is_json() {
                let data: Value = parse(&event.data)?;
                out.document(&json!({ "event": event.event, "data": data }))?;
            }
            match &*event.event {
                "status" => {
                    let job: Job = parse(&event.data)?;
                    if let Some(status) = self.status(job).await? {
                        return Ok(status);
                    }
                }
                "progress" => self.progress(&parse(&event.data)?),
                "epoch" => self.epoch(&parse(&event.data)?)?,
                "evaluation" => self.test = Some(parse(&event.data)?),
                _ => {}
            }
        }
    }

    /// A line of the result, above the bar.
    fn line(&self, text: &str) -> anyhow::Result<()> {
        let out = self.session.out;
        if out.is_json() { Ok(()) } else { self.bar.suspend(|| out.line(text)) }
    }

    fn show_disconnect(&self, reason: &str) {
        let out = self.session.out;
        if out.is_json() {
            let detail = format!("the connection was lost: {reason}");
            out.problem(&json!({ "code": "reconnecting", "detail": detail }));
        } else {
            let note = format_args!("the connection was lost ({reason}); reconnecting");
            self.bar.suspend(|| out.note(note));
        }
    }

    /// Shows the job's status, and its result if it has finished.
    async fn status(&mut self, job: Job) -> anyhow::Result<Option<ExitStatus>> {
        if !job.status.is_final() {
            if self.status.replace(job.status) != Some(job.status) {
                self.line(&status_line(&job))?;
            }
            if self.placement != job.placement {
                if let Some(line) = job.placement.as_ref().and_then(placement_line) {
                    self.line(&line)?;
                }
                self.placement = job.placement;
            }
            return Ok(None);
        }
        // The event may be of an earlier end, after which the job was resumed.
        let client = &self.session.client;
        let latest = client.json(client.request(Method::GET, &["jobs", &job.id])).await;
        let job: Job = latest.unwrap_or(job);
        if !job.status.is_final() {
            return Ok(None);
        }
        self.bar.finish_and_clear();
        self.ended(&job).await.map(Some)
    }

    fn progress(&self, now: &Progress) {
        self.bar.set_length(now.steps);
        self.bar.set_position(now.step);
        self.bar.set_message(progress_line(now));
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> anyhow::Result<()> {
        if metrics.epoch <= self.epoch {
            return Ok(());
        }
        self.epoch = metrics.epoch;
        self.line(&epoch_line(metrics))
    }

    async fn ended(&self, job: &Job) -> anyhow::Result<ExitStatus> {
        let out = self.session.out;
        let Job { name, status, .. } = job;
        match status {
            JobStatus::Succeeded => {
                self.succeeded(job).await?;
                Ok(ExitStatus::Success)
            }
            JobStatus::Cancelled => {
                self.line(&format!(
                    "{name} was cancelled; resume it with `pawprint resume {name}`"
                ))?;
                Ok(ExitStatus::JobCancelled)
            }
            _ => {
                report(out, job);
                Ok(ExitStatus::JobFailed)
            }
        }
    }

    async fn succeeded(&self, job: &Job) -> anyhow::Result<()> {
        let model = self.model(job).await;
        let took = job.started_at.zip(job.finished_at).map_or_else(String::new, |(start, end)| {
            let seconds = end.duration_since(start).as_secs().max(0).unsigned_abs();
            format!(" in {}", span(seconds))
        });
        self.line(&format!("{} succeeded{took}", job.name))?;
        if let Some(best) = job.best {
            self.line(&format!(
                "best epoch {}: val loss {:.4}, val accuracy {:.4}",
                best.epoch, best.val_loss, best.val_accuracy
            ))?;
        }
        let accuracy = self.test.map(|score| score.accuracy);
        if let Some(accuracy) =
            accuracy.or_else(|| model.as_ref().and_then(|model| model.test_accuracy))
        {
            let over = self.test.map(|score| format!(" on {} images", score.count));
            self.line(&format!("test accuracy {accuracy:.4}{}", over.unwrap_or_default()))?;
        }
        if let Some(id) = &job.model_id {
            let serves = model.as_ref().is_some_and(|model| model.in_service);
            let name = model.map_or_else(|| id.clone(), |model| format!("{} ({id})", model.name));
            let serves = if serves { "is now in service".to_owned() } else { String::new() };
            let serves = service::sentence(job).unwrap_or(serves);
            self.line(format!("model {name} {serves}").trim_end())?;
        }
        Ok(())
    }

    async fn model(&self, job: &Job) -> Option<Model> {
        let client = &self.session.client;
        let id = job.model_id.as_ref()?;
        client.json(client.request(Method::GET, &["models", id])).await.ok()
    }
}

fn parse<T: DeserializeOwned>(data: &str) -> anyhow::Result<T> {
    serde_json::from_str(data).context("can't parse the event")
}

/// Why the job ended without success; with `--json` the last event has the reason.
fn report(out: Output, job: &Job) {
    if out.is_json() {
        return;
    }
    let Job { name, status, .. } = job;
    let verb = if *status == JobStatus::Interrupted { "was interrupted" } else { "failed" };
    match &job.error {
        Some(error) => {
            out.error(format_args!("job {name} {verb}: {} ({})", error.detail, error.code));
        }
        None => out.error(format_args!("job {name} {verb}")),
    }
}

fn status_line(job: &Job) -> String {
    let place: Vec<_> = [&job.device, &job.precision].into_iter().flatten().cloned().collect();
    let place = if place.is_empty() { String::new() } else { format!(" on {}", place.join(", ")) };
    format!("{} is {}{place}", job.name, job.status)
}

/// Where the trainer runs, or what it waits for.
fn placement_line(placement: &Placement) -> Option<String> {
    let Placement { executor, state, id, node, message } = placement;
    let id = id.as_ref().map_or_else(String::new, |id| format!(" (id {id})"));
    match (&**state, node, message) {
        ("running", Some(node), _) => Some(format!("runs on node {node} of {executor}{id}")),
        (_, None, Some(message)) => Some(message.clone()),
        _ => None,
    }
}

fn epoch_line(metrics: &EpochMetrics) -> String {
    let EpochMetrics { epoch, train_loss, train_accuracy, val_loss, val_accuracy, .. } = metrics;
    format!(
        "epoch {epoch:>3}  loss {train_loss:.4}  accuracy {train_accuracy:.4}  \
         val loss {val_loss:.4}  val accuracy {val_accuracy:.4}  {:.1} s  {:.0} images/s",
        metrics.seconds, metrics.images_per_second
    )
}

fn progress_line(now: &Progress) -> String {
    let Progress { phase, epoch, epochs, step, steps, eta_seconds } = now;
    let epoch = if *epoch > 0 { format!("epoch {epoch}/{epochs}, ") } else { String::new() };
    let left = eta_seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or_else(String::new, |eta| format!(", {} remaining", span(eta.as_secs())));
    format!("{epoch}{} {step}/{steps}{left}", phase.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_fits_in_one_line() {
        let mut now = Progress {
            phase: "preparing".to_owned(),
            epoch: 0,
            epochs: 30,
            step: 10,
            steps: 2_000,
            eta_seconds: None,
        };
        assert_eq!(progress_line(&now), "preparing 10/2000");
        now = Progress { phase: "training".to_owned(), epoch: 3, eta_seconds: Some(90.0), ..now };
        assert_eq!(progress_line(&now), "epoch 3/30, training 10/2000, 1m 30s remaining");
    }
}
