//! `pawprint datasets classes`: lists the classes of a dataset, adds, renames, merges and deletes
//! them.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client,
    responses::Dataset,
};
use crate::domain::class_name::{ClassName, InvalidClassName};

const HEADING: [&str; 4] = ["CLASS", "TRAIN", "VALIDATION", "TEST"];

/// Options of `pawprint datasets classes`.
#[derive(Debug, Args)]
pub(super) struct Classes {
    /// Name or id of the dataset
    #[arg(value_parser = reference)]
    dataset: String,

    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a class without images
    Add {
        /// Name of the class
        #[arg(value_parser = class_name)]
        class: String,

        #[command(flatten)]
        client: ClientArgs,
    },
    /// Rename a class
    Rename {
        /// Name of the class
        #[arg(value_parser = class_name)]
        class: String,

        /// New name
        #[arg(value_parser = class_name)]
        name: String,

        #[command(flatten)]
        client: ClientArgs,
    },
    /// Move the images of a class to another class, and delete the empty class
    Merge {
        /// Name of the class
        #[arg(value_parser = class_name)]
        class: String,

        /// Class that the images are moved to
        #[arg(value_parser = class_name)]
        into: String,

        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a class
    Delete {
        /// Name of the class
        #[arg(value_parser = class_name)]
        class: String,

        /// Also delete the images of the class
        #[arg(long)]
        images: bool,

        #[command(flatten)]
        client: ClientArgs,
    },
}

impl Classes {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(
                Action::Add { client, .. }
                | Action::Rename { client, .. }
                | Action::Merge { client, .. }
                | Action::Delete { client, .. },
            ) => client,
            None => &self.client,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let base = ["datasets", &self.dataset, "classes"];
        let of = |class| [base[0], base[1], base[2], class];
        let ask = |method, path: &[&str]| session.client.request_without_timeout(method, path);
        let (request, done) = match &self.action {
            None => (ask(Method::GET, &base[..2]), None),
            Some(Action::Add { class, .. }) => (
                ask(Method::POST, &base).json(&json!({ "name": class })),
                Some(format!("added class {class}")),
            ),
            Some(Action::Rename { class, name, .. }) => (
                ask(Method::PATCH, &of(class)).json(&json!({ "name": name })),
                Some(format!("renamed class {class} to {name}")),
            ),
            Some(Action::Merge { class, into, .. }) => {
                if class.to_lowercase() == into.to_lowercase() {
                    anyhow::bail!("a class can't be merged into itself");
                }
                self.require(into, session).await?;
                let body = json!({ "name": into, "merge": true });
                let done = format!("merged class {class} into {into}");
                (ask(Method::PATCH, &of(class)).json(&body), Some(done))
            }
            Some(Action::Delete { class, images, .. }) => {
                let images = images.then_some(("images", "delete"));
                (
                    ask(Method::DELETE, &of(class)).query(images.as_slice()),
                    Some(format!("deleted class {class}")),
                )
            }
        };
        let answer: Value = session.client.json(request).await?;
        let dataset: Dataset = client::read(&answer)?;
        match done {
            _ if session.out.is_json() => session.out.document(&answer)?,
            Some(done) => session.out.line(format_args!("{}: {done}", dataset.name))?,
            None => list(&dataset, session)?,
        }
        Ok(ExitStatus::Success)
    }

    /// Fails if the dataset has no such class: merging into it would be renaming.
    async fn require(&self, class: &str, session: &Session) -> anyhow::Result<()> {
        let request = session.client.request(Method::GET, &["datasets", &self.dataset]);
        let dataset: Dataset = session.client.json(request).await?;
        let is_there = dataset
            .classes
            .iter()
            .any(|name| name.parse::<ClassName>().is_ok_and(|name| name.is(class)));
        anyhow::ensure!(
            is_there,
            "dataset {} has no class `{class}`; use `rename` to give a class a new name",
            dataset.name
        );
        Ok(())
    }
}

fn list(dataset: &Dataset, session: &Session) -> anyhow::Result<()> {
    if dataset.classes.is_empty() {
        session.out.note("no classes yet; images that are imported make them");
        return Ok(());
    }
    let rows = dataset.classes.iter().map(|class| {
        let of = |split| dataset.counts.get(split).and_then(|of| of.get(class)).unwrap_or(&0);
        let counts = ["train", "validation", "test"].map(|split| of(split).to_string());
        [vec![class.clone()], counts.to_vec()].concat()
    });
    session.out.table(&HEADING, rows.collect())
}

/// A class name as the server takes it: `..` is none, and would be another path.
fn class_name(text: &str) -> Result<String, InvalidClassName> {
    text.parse::<ClassName>().map(String::from)
}
