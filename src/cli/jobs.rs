//! `pawprint jobs`: lists training jobs, and deletes one.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, Named, reference},
    output::{age, decimals},
    responses::Job,
    service,
};
use crate::domain::job::JobStatus;

const HEADING: [&str; 9] =
    ["NAME", "RECIPE", "DATASET", "STATUS", "EPOCH", "BEST VAL ACC", "MODEL", "AGE", "ID"];

/// Options of `pawprint jobs`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Jobs {
    #[command(subcommand)]
    action: Option<Action>,

    /// Only jobs with this status: queued, running, succeeded, failed, cancelled or interrupted
    #[arg(long)]
    status: Option<JobStatus>,

    /// Only jobs on this dataset
    #[arg(long, value_name = "NAME", value_parser = reference)]
    dataset: Option<String>,

    /// Maximum number of jobs to list
    #[arg(long, value_name = "N", default_value = "20")]
    limit: usize,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Delete a finished job with its metrics, evaluation and log; its model is kept
    Delete(Named),
}

impl Jobs {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Delete(job)) => &job.client,
            None => &self.client,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        if let Some(Action::Delete(job)) = &self.action {
            return job.delete("jobs", session).await;
        }
        let filters: Vec<_> =
            [("status", self.status.map(JobStatus::as_str)), ("dataset", self.dataset.as_deref())]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
        let items = session.client.list(&["jobs"], &filters, self.limit).await?;
        session.out.list(&items, "no matching jobs", &HEADING, row)?;
        Ok(ExitStatus::Success)
    }
}

fn row(job: Job, now: Timestamp) -> Vec<String> {
    let epoch = job
        .progress
        .map_or_else(|| "-".to_owned(), |epochs| format!("{}/{}", epochs.epoch, epochs.epochs));
    vec![
        job.name,
        job.recipe,
        job.dataset,
        job.status.to_string(),
        epoch,
        decimals(job.best.map(|best| best.val_accuracy)),
        service::cell(job.service.as_ref()),
        age(job.created_at, now),
        job.id,
    ]
}
