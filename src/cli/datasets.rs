//! `pawprint datasets`: lists datasets, changes classes, reassigns the images of one to splits, and deletes one.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use indicatif::BinaryBytes;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, Named},
    classes::Classes,
    client,
    output::{age, counted},
    responses::{Dataset, SplitReport, gaps},
};
use crate::domain::{dataset::Split, gaps::Gaps};

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
    /// Reassign all images of a dataset to splits by content, 70/15/15
    ///
    /// Every image moves to the split that its content hash gives it, also if it was put into
    /// another one on purpose. Each class with at least three images gets training, validation and
    /// test images. Applying it twice changes nothing. Existing jobs keep their images.
    Split(Named),
    /// List the classes of a dataset, or change them
    Classes(Classes),
    /// Delete a dataset and its images; jobs and models are kept
    Delete(Named),
}

impl Datasets {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Split(dataset) | Action::Delete(dataset)) => &dataset.client,
            Some(Action::Classes(classes)) => classes.client(),
            None => &self.client,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        match &self.action {
            Some(Action::Split(dataset)) => return split(&dataset.name, session).await,
            Some(Action::Classes(classes)) => return classes.run(session).await,
            Some(Action::Delete(dataset)) => return dataset.delete("datasets", session).await,
            None => {}
        }
        let items = session.client.list(&["datasets"], &[], usize::MAX).await?;
        let none = "no datasets yet; create one with `pawprint import`";
        session.out.list(&items, none, &HEADING, row)?;
        Ok(ExitStatus::Success)
    }
}

/// Reassigns all images of a dataset to splits.
async fn split(name: &str, session: &Session) -> anyhow::Result<ExitStatus> {
    let client = &session.client;
    // A large dataset may take longer than the usual timeout.
    let request = client.request_without_timeout(Method::POST, &["datasets", name, "split"]);
    let report: Value = client.json(request).await?;
    if session.out.is_json() {
        session.out.document(&report)?;
        return Ok(ExitStatus::Success);
    }
    let SplitReport { dataset, moved, counts } = client::read(&report)?;
    session.out.line(format_args!("{dataset}: {} moved", counted(moved, "image")))?;
    for (split, images) in Split::ALL.iter().filter_map(|it| counts.get_key_value(it.as_str())) {
        let images: Vec<_> =
            images.iter().map(|(class, count)| format!("{count} {class}")).collect();
        session.out.line(format_args!("  {split}: {}", images.join(", ")))?;
    }
    let classes = counts.values().next().into_iter().flat_map(BTreeMap::keys);
    note_gaps(session, &dataset, &gaps(classes, &counts));
    Ok(ExitStatus::Success)
}

/// Notes the classes of a dataset without images in some split, and what to do about them.
pub(super) fn note_gaps(session: &Session, name: &str, gaps: &Gaps) {
    if gaps.is_empty() {
        return;
    }
    let lack = if gaps.preventing_training().is_empty() {
        "lacks test images"
    } else {
        "is not ready for training"
    };
    let remedy = gaps.remedy(&format!("`pawprint datasets split {name}`"));
    session.out.note(format_args!("{name} {lack}: {gaps}; {remedy}"));
}

/// The names of a few classes, otherwise their number.
fn classes(names: &[String]) -> String {
    match names.len() {
        0 => "none yet".to_owned(),
        1..=5 => names.join(","),
        many => format!("{many} classes"),
    }
}

fn row(dataset: Dataset, now: Timestamp) -> Vec<String> {
    let of = |split| dataset.counts.get(split).map_or(0, |classes| classes.values().sum::<u64>());
    vec![
        dataset.name,
        classes(&dataset.classes),
        of("train").to_string(),
        of("validation").to_string(),
        of("test").to_string(),
        BinaryBytes(dataset.bytes).to_string(),
        age(dataset.created_at, now),
    ]
}
