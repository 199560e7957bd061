//! `pawprint weights`: lists the weights of base networks, shows, uploads or downloads VGG16's.

use std::{path::PathBuf, time::Duration};

use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ExitStatus, Session, args::ClientArgs, client, progress::Transfer, upload};
use crate::{
    domain::job::JobError,
    pretrained::{Origin, State},
};

const PATH: [&str; 2] = ["weights", "vgg16"];
/// Interval between two checks of a download.
const PAUSE: Duration = Duration::from_millis(500);

/// Options of `pawprint weights`.
#[derive(Debug, Args)]
pub(super) struct Weights {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the base networks and the status of their weights
    List(Show),
    /// Show the installed VGG16 weights
    Show(Show),
    /// Upload VGG16 weights: a Keras .h5, torchvision .pth or safetensors file
    Import(Import),
    /// Download the VGG16 weights to the server
    Fetch(Fetch),
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Import {
    /// Weights file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Fetch {
    /// Publisher of the weights; the Keras file is about ten times smaller
    #[arg(long, value_enum, default_value = "keras")]
    source: Origin,

    #[command(flatten)]
    client: ClientArgs,
}

/// The server's response, as far as it is read.
#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default = "vgg16")]
    base: String,
    state: State,
    source: Option<String>,
    sha256: Option<String>,
    preprocessing: Option<String>,
    downloaded_bytes: Option<u64>,
    total_bytes: Option<u64>,
    error: Option<JobError>,
}

/// The network of a server that has only that one.
fn vgg16() -> String {
    "vgg16".to_owned()
}

impl Weights {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            Action::List(show) | Action::Show(show) => &show.client,
            Action::Import(import) => &import.client,
            Action::Fetch(fetch) => &fetch.client,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let response = match &self.action {
            Action::List(_) => return list(session).await,
            Action::Show(_) => status(session).await?,
            Action::Import(import) => import.run(session).await?,
            Action::Fetch(fetch) => fetch.run(session).await?,
        };
        show(session, &response)?;
        Ok(ExitStatus::Success)
    }
}

impl Import {
    async fn run(&self, session: &Session) -> anyhow::Result<Value> {
        let request = session.client.request_without_timeout(Method::PUT, &PATH);
        upload::send_file(&self.file, request, session).await
    }
}

impl Fetch {
    async fn run(&self, session: &Session) -> anyhow::Result<Value> {
        let request = session
            .client
            .request(Method::POST, &[&PATH[..], &["download"]].concat())
            .json(&json!({ "source": self.source }));
        let _: Value = session.client.json(request).await?;
        let mut transfer = None;
        let mut come = 0;
        loop {
            let response = status(session).await?;
            let status: Status = client::read(&response)?;
            match (status.state, status.error) {
                (State::Downloading, _) => {
                    let total = status.total_bytes.unwrap_or(0);
                    let transfer =
                        transfer.get_or_insert_with(|| Transfer::new(session.out, total));
                    let bytes = status.downloaded_bytes.unwrap_or(0);
                    transfer.advance(bytes.saturating_sub(come));
                    come = come.max(bytes);
                    tokio::time::sleep(PAUSE).await;
                }
                (_, Some(error)) => bail!("{}", error.detail),
                (_, None) => return Ok(response),
            }
        }
    }
}

async fn status(session: &Session) -> anyhow::Result<Value> {
    Ok(session.client.json(session.client.request(Method::GET, &PATH)).await?)
}

async fn list(session: &Session) -> anyhow::Result<ExitStatus> {
    let response: Value =
        session.client.json(session.client.request(Method::GET, &["weights"])).await?;
    if session.out.is_json() {
        session.out.document(&response)?;
    } else {
        for status in response["items"].as_array().into_iter().flatten() {
            print(session, client::read(status)?)?;
        }
    }
    Ok(ExitStatus::Success)
}

fn show(session: &Session, response: &Value) -> anyhow::Result<()> {
    if session.out.is_json() {
        return session.out.document(response);
    }
    print(session, client::read(response)?)
}

fn print(session: &Session, status: Status) -> anyhow::Result<()> {
    let (out, base) = (session.out, &status.base);
    let (source, preprocessing, sha256) = (
        status.source.unwrap_or_default(),
        status.preprocessing.unwrap_or_default(),
        status.sha256.unwrap_or_default(),
    );
    match status.state {
        State::Shipped => {
            out.line(format_args!("{base}: built in, from {source}, sha256 {sha256}"))?;
        }
        State::Ready => out.line(format_args!(
            "{base}: ready, from {source}, preprocessing {preprocessing}, sha256 {sha256}"
        ))?,
        State::Downloading => out.line(format_args!("{base}: downloading from {source}"))?,
        State::Absent => out.line(format_args!(
            "{base}: not installed; run `pawprint weights fetch` or `pawprint weights import FILE`"
        ))?,
    }
    if let Some(error) = status.error {
        out.note(format_args!("the last download failed: {}", error.detail));
    }
    Ok(())
}
