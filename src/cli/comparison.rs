//! `pawprint models compare`: two models on the same test images, in sentences.

use std::time::Duration;

use clap::Args;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client, progress,
};

/// How long to wait before the server is asked again.
const POLL: Duration = Duration::from_millis(500);

/// Options of `pawprint models compare`.
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Name, alias or id of a model, or `current`
    #[arg(value_parser = reference)]
    first: String,

    /// Another model
    #[arg(value_parser = reference)]
    second: String,

    /// Job whose test images decide [default: that of the newer model]
    #[arg(long, value_parser = reference, value_name = "JOB")]
    job: Option<String>,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// How far the server is.
#[derive(Debug, Deserialize)]
struct Progress {
    done: u64,
    total: u64,
}

#[derive(Debug, Deserialize)]
struct Comparison {
    job: String,
    dataset: String,
    summary: Vec<String>,
}

impl Compare {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let path = ["models", &self.first, "compare"];
        let mut bar = None;
        let answer: Value = loop {
            let request = session
                .client
                .request(Method::GET, &path)
                .query(&[("with", &self.second)])
                .query(&self.job.as_ref().map(|job| [("job", job)]));
            let response = session.client.send(request).await?;
            let status = response.status();
            let answer: Value = session.client.parse(response).await?;
            if status != StatusCode::ACCEPTED {
                break answer;
            }
            let Progress { done, total } = client::read(&answer)?;
            bar.get_or_insert_with(|| progress::images(session.out, total)).set_position(done);
            sleep(POLL).await;
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        if session.out.is_json() {
            session.out.document(&answer)?;
            return Ok(ExitStatus::Success);
        }
        let Comparison { job, dataset, summary } = client::read(&answer)?;
        session
            .out
            .line(format_args!("On the test images of the job {job} (dataset {dataset}):"))?;
        for sentence in summary {
            session.out.line(sentence)?;
        }
        Ok(ExitStatus::Success)
    }
}
