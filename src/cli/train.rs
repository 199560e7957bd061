//! `pawprint train`: starts a job and, with `--follow`, watches it.

use clap::{Args, builder::PossibleValuesParser};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client,
    responses::Job,
    watch,
};

/// Options of `pawprint train`.
#[derive(Debug, Args)]
pub(super) struct Train {
    /// Watch the job until it ends, as `pawprint watch` does
    #[arg(long)]
    follow: bool,

    #[command(flatten)]
    job: NewJob,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// The body of `POST /jobs`.
#[derive(Debug, Args, Serialize)]
struct NewJob {
    /// Dataset to train on
    #[arg(long, value_name = "NAME", value_parser = reference)]
    dataset: String,

    /// How to train
    #[arg(long, default_value = "scratch_cnn", value_name = "RECIPE")]
    recipe: String,

    /// Name of the job and of its model [default: one that the server makes up]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,

    #[command(flatten)]
    params: Params,
}

/// What is left out is the recipe's default.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Parameters (each defaults to the recipe's)")]
struct Params {
    /// Passes over the training photos
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<u32>,

    /// Photos per optimizer step
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<u32>,

    /// Step size of the optimizer
    #[arg(long, value_name = "RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,

    /// How the step size goes from epoch to epoch
    #[arg(long, value_name = "SCHEDULE", value_parser = PossibleValuesParser::new(["constant", "cosine"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate_schedule: Option<String>,

    /// Where every random draw comes from
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,

    /// Stop after so many epochs without a lower validation loss
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    early_stopping_patience: Option<u32>,

    /// Precision of the convolutions
    #[arg(long, value_parser = PossibleValuesParser::new(["auto", "fp32", "bf16"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<String>,

    /// Device to train on
    #[arg(long, value_parser = PossibleValuesParser::new(["auto", "cpu", "cuda"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,

    /// vgg16_finetune: passes that train the head alone before
    #[arg(long, value_name = "N", conflicts_with = "head_from")]
    #[serde(skip_serializing_if = "Option::is_none")]
    head_epochs: Option<u32>,

    /// vgg16_finetune: the vgg16_features job whose head to begin with
    #[arg(long, value_name = "JOB", value_parser = reference)]
    #[serde(skip_serializing_if = "Option::is_none")]
    head_from: Option<String>,
}

impl Train {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let client = &session.client;
        let request = client.request(Method::POST, &["jobs"]).json(&self.job);
        let response: Value = client.json(request).await?;
        let job: Job = client::read(&response)?;
        if self.follow {
            session.out.note(format_args!("job {} ({})", job.name, job.id));
            return watch::follow(session, &job.id, &job.name).await;
        }
        if session.out.is_json() {
            session.out.document(&response)?;
        } else {
            let Job { name, id, status, .. } = &job;
            session.out.line(format_args!("job {name} ({id}) is {status}"))?;
            session.out.note(format_args!("`pawprint watch {name}` follows it"));
        }
        Ok(ExitStatus::Success)
    }
}
