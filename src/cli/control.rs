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
use crate::domain::job::JobStatus;

/// Options of the three commands.
#[derive(Debug, Args)]
pub(super) struct Control {
    /// Name or id of the job
    #[arg(value_parser = reference)]
    job: String,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// What to do with a job.
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

    /// What happens to a job that now has `status`.
    fn status_suffix(self, status: JobStatus) -> String {
        match self {
            Self::Cancel if !status.is_final() => "is stopping after the current batch".to_owned(),
            Self::Stop if !status.is_final() => format!(
                "is {status}; it will evaluate and keep its best completed epoch, then finish"
            ),
            _ => format!("is {status}"),
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
            session.out.line(format_args!("job {name} {}", action.status_suffix(status)))?;
        }
        Ok(ExitStatus::Success)
    }
}
