//! `pawprint jobs`: the list of training jobs.

use clap::Args;
use jiff::Timestamp;

use super::{
    Ending, Session,
    answers::Job,
    args::{ClientArgs, reference},
    client,
    output::{age, decimals},
};
use crate::domain::job::JobStatus;

const HEADING: [&str; 8] =
    ["NAME", "RECIPE", "DATASET", "STATUS", "EPOCH", "BEST VAL ACC", "AGE", "ID"];

/// Options of `pawprint jobs`.
#[derive(Debug, Args)]
pub(super) struct Jobs {
    /// Only those that stand so: queued, running, succeeded, failed, cancelled or interrupted
    #[arg(long)]
    status: Option<JobStatus>,

    /// Only those that train on this dataset
    #[arg(long, value_name = "NAME", value_parser = reference)]
    dataset: Option<String>,

    /// At most so many
    #[arg(long, value_name = "N", default_value = "20")]
    limit: usize,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

impl Jobs {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<Ending> {
        let filters: Vec<_> =
            [("status", self.status.map(JobStatus::as_str)), ("dataset", self.dataset.as_deref())]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
        let items = session.client.list(&["jobs"], &filters, self.limit).await?;
        if session.out.is_json() {
            session.out.document(&items)?;
        } else if items.is_empty() {
            session.out.note("there are no such jobs");
        } else {
            let now = Timestamp::now();
            let rows: anyhow::Result<Vec<_>> =
                items.iter().map(|item| Ok(row(client::read(item)?, now))).collect();
            session.out.table(&HEADING, &rows?)?;
        }
        Ok(Ending::Success)
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
        age(job.created_at, now),
        job.id,
    ]
}
