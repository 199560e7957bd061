//! `pawprint datasets`: lists datasets, and deletes one.

use clap::{Args, Subcommand};
use indicatif::BinaryBytes;
use jiff::Timestamp;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, Named},
    output::age,
    responses::Dataset,
};

const HEADING: [&str; 7] = ["NAME", "CLASSES", "TRAIN", "VALIDATION", "TEST", "SIZE", "AGE"];

/// Options of `pawprint datasets`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Datasets {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Delete a dataset and its images; jobs and models are kept
    Delete(Named),
}

impl Datasets {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Delete(dataset)) => &dataset.client,
            None => &self.client,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        if let Some(Action::Delete(dataset)) = &self.action {
            return dataset.delete("datasets", session).await;
        }
        let items = session.client.list(&["datasets"], &[], usize::MAX).await?;
        let none = "no datasets yet; create one with `pawprint import`";
        session.out.list(&items, none, &HEADING, row)?;
        Ok(ExitStatus::Success)
    }
}

fn row(dataset: Dataset, now: Timestamp) -> Vec<String> {
    let of = |split| dataset.counts.get(split).map_or(0, |classes| classes.values().sum::<u64>());
    vec![
        dataset.name,
        dataset.classes.join(","),
        of("train").to_string(),
        of("validation").to_string(),
        of("test").to_string(),
        BinaryBytes(dataset.bytes).to_string(),
        age(dataset.created_at, now),
    ]
}
