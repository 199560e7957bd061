//! `pawprint cancel`, `stop` and `resume`: one request each.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client,
    responses::Job,
};

/// Options of the three commands.
#[derive(Debug, Args)]
pub(super) struct Control {
    /// Name or id of the job
    #[arg(value_parser = reference)]
    job: String,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// What to ask of a job.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Cancel,
    Stop,
    Resume,
}

impl Action {
    const fn path(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Stop => "stop",
            Self::Resume => "resume",
        }
    }

    /// What becomes of a job that is not yet over.
    const fn status_suffix(self) -> &'static str {
        match self {
            Self::Cancel => "; it ends within one batch",
            Self::Stop => "; it keeps its best epoch, if one is complete, evaluates it and ends",
            Self::Resume => "",
        }
    }
}

impl Control {
    pub(super) async fn run(
        &self,
        action: Action,
        session: &Session,
    ) -> anyhow::Result<ExitStatus> {
        let client = &session.client;
        let request = client.request(Method::POST, &["jobs", &self.job, action.path()]);
        let response: Value = client.json(request).await?;
        if session.out.is_json() {
            session.out.document(&response)?;
        } else {
            let Job { name, status, .. } = client::read(&response)?;
            let outlook = if status.is_final() { "" } else { action.status_suffix() };
            session.out.line(format_args!("job {name} is {status}{outlook}"))?;
        }
        Ok(ExitStatus::Success)
    }
}
