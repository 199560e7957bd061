//! `pawprint review`: what a dataset hides, as a summary or a list; waits for the review if asked.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client,
    output::counted,
};

const POLL: Duration = Duration::from_millis(500);
const OUT_OF_DATE: &str = "the dataset has changed since this result";
/// Items of a list that are printed by default.
const SHOWN: usize = 20;

/// Options of `pawprint review`.
#[derive(Debug, Args)]
pub(super) struct Review {
    /// Name or id of the dataset
    #[arg(value_parser = reference)]
    dataset: String,

    /// Print a list instead of a summary
    #[arg(long, value_enum)]
    list: Option<List>,

    /// Maximum items of the list
    #[arg(long, value_name = "N", default_value_t = SHOWN, requires = "list")]
    limit: usize,

    /// Wait until the dataset as it is now has been reviewed
    #[arg(long, conflicts_with = "cancel")]
    wait: bool,

    /// Cancel the review; without this and with `--wait`, a cancelled one is resumed
    #[arg(long)]
    cancel: bool,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum List {
    /// Possibly mislabelled images
    Mislabelled,
    /// Near-duplicates, those across splits first
    Duplicates,
    /// Images that are unlike the rest
    Outliers,
    /// Unlabelled images, those first whose label would teach most
    Unlabelled,
}

impl List {
    const fn path(self) -> &'static str {
        match self {
            Self::Mislabelled => "mislabelled",
            Self::Duplicates => "duplicates",
            Self::Outliers => "outliers",
            Self::Unlabelled => "unlabelled",
        }
    }
}

#[derive(Debug, Deserialize)]
struct State {
    status: String,
    progress: Option<Progress>,
    error: Option<Failure>,
    result: Option<Summary>,
}

#[derive(Debug, Deserialize)]
struct Progress {
    phase: String,
    done: u64,
    total: u64,
}

#[derive(Debug, Deserialize)]
struct Failure {
    detail: String,
}

#[derive(Debug, Deserialize)]
struct Summary {
    out_of_date: bool,
    labelled: u64,
    unlabelled: u64,
    estimated_wrong: u64,
    mislabelled: u64,
    duplicates: u64,
    duplicates_across_splits: u64,
    outliers: u64,
}

#[derive(Debug, Deserialize)]
struct Image {
    id: String,
    file_name: String,
    label: Option<String>,
    split: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Item {
    image: Image,
    #[serde(default)]
    probability: Option<f64>,
    #[serde(default)]
    suggested: Option<String>,
    #[serde(default)]
    reasons: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Group {
    images: Vec<Image>,
    similarity: f64,
}

impl Review {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let path = ["datasets", &self.dataset, "review"];
        let client = &session.client;
        let method = match (self.cancel, self.wait) {
            (true, _) => Method::DELETE,
            (_, true) => Method::POST,
            _ => Method::GET,
        };
        let mut answer: Value = client.json(client.request(method, &path)).await?;
        let mut state: State = client::read(&answer)?;
        while self.wait && matches!(&*state.status, "waiting" | "running") {
            sleep(POLL).await;
            answer = client.json(client.request(Method::GET, &path)).await?;
            state = client::read(&answer)?;
        }
        if self.wait && state.status != "complete" {
            bail!(
                "the review of {} is {}: {}",
                self.dataset,
                state.status.replace('_', " "),
                match (&*state.status, state.error) {
                    (_, Some(error)) => error.detail,
                    ("too_few_images", None) => "there is too little to compare".to_owned(),
                    _ => "run this command again to resume it".to_owned(),
                }
            );
        }
        match self.list {
            Some(list) => {
                if state.result.as_ref().is_some_and(|result| result.out_of_date) {
                    session.out.note(OUT_OF_DATE);
                }
                self.print_list(list, session).await?;
            }
            None if session.out.is_json() => session.out.document(&answer)?,
            None => self.print_summary(&state, session)?,
        }
        Ok(ExitStatus::Success)
    }

    fn print_summary(&self, state: &State, session: &Session) -> anyhow::Result<()> {
        let out = session.out;
        let progress = state.progress.as_ref().map_or_else(String::new, |progress| {
            format!(" ({}: {} of {})", progress.phase, progress.done, progress.total)
        });
        out.line(format_args!(
            "{}: review {}{progress}",
            self.dataset,
            state.status.replace('_', " ")
        ))?;
        let Some(result) = &state.result else { return Ok(()) };
        if result.out_of_date {
            out.note(OUT_OF_DATE);
        }
        out.line(format_args!(
            "  {} labelled and {} unlabelled images",
            result.labelled, result.unlabelled
        ))?;
        out.line(format_args!(
            "  {} possibly mislabelled; about {} estimated to be wrong",
            counted(result.mislabelled, "image"),
            // The estimate does not follow the decisions.
            counted(result.estimated_wrong.min(result.mislabelled), "label")
        ))?;
        out.line(format_args!(
            "  {} of near-duplicates, {} of them in more than one split",
            counted(result.duplicates, "group"),
            result.duplicates_across_splits
        ))?;
        out.line(format_args!("  {} unlike the rest", counted(result.outliers, "image")))
    }

    async fn print_list(&self, list: List, session: &Session) -> anyhow::Result<()> {
        let path = ["datasets", &*self.dataset, "review", list.path()];
        let items = session.client.list(&path, &[], self.limit).await?;
        let out = session.out;
        let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let percent = |part: Option<f64>| {
            part.map_or_else(|| "-".to_owned(), |part| format!("{:.1}%", part * 100.0))
        };
        match list {
            List::Mislabelled => {
                let heading = ["FILE", "LABEL", "PROBABILITY", "LOOKS LIKE", "ID"];
                out.list(&items, "no image looks mislabelled", &heading, |item: Item, _| {
                    vec![
                        item.image.file_name,
                        text(item.image.label),
                        percent(item.probability),
                        text(item.suggested),
                        item.image.id,
                    ]
                })
            }
            List::Unlabelled => {
                let heading = ["FILE", "LOOKS LIKE", "PROBABILITY", "ID"];
                out.list(&items, "no unlabelled images", &heading, |item: Item, _| {
                    vec![
                        item.image.file_name,
                        text(item.suggested),
                        percent(item.probability),
                        item.image.id,
                    ]
                })
            }
            List::Outliers => {
                let heading = ["FILE", "LABEL", "BECAUSE", "ID"];
                out.list(&items, "no image is unlike the rest", &heading, |item: Item, _| {
                    vec![
                        item.image.file_name,
                        text(item.image.label),
                        item.reasons.join(", "),
                        item.image.id,
                    ]
                })
            }
            List::Duplicates => {
                let heading = ["ALIKE", "IMAGES"];
                out.list(&items, "no near-duplicates", &heading, |group: Group, _| {
                    let images = group
                        .images
                        .into_iter()
                        .map(|image| format!("{} ({})", image.file_name, text(image.split)));
                    vec![percent(Some(group.similarity)), images.collect::<Vec<_>>().join(", ")]
                })
            }
        }
    }
}
