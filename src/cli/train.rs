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
    /// Follow the job until it finishes, like `pawprint watch`
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

    /// Training recipe
    #[arg(long, default_value = "scratch_cnn", value_name = "RECIPE")]
    recipe: String,

    /// Name of the job and its model [default: generated]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,

    #[command(flatten)]
    params: Params,
}

/// Omitted parameters use the recipe's defaults.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Training parameters (defaults depend on the recipe)")]
struct Params {
    /// Number of epochs
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<u32>,

    /// Batch size
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<u32>,

    /// Learning rate
    #[arg(long, value_name = "RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,

    /// Learning rate schedule
    #[arg(long, value_name = "SCHEDULE", value_parser = PossibleValuesParser::new(["constant", "cosine"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate_schedule: Option<String>,

    /// Random seed
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,

    /// Stop after N epochs without a lower validation loss
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

    /// vgg16_finetune: epochs for training the head before fine-tuning
    #[arg(long, value_name = "N", conflicts_with = "head_from")]
    #[serde(skip_serializing_if = "Option::is_none")]
    head_epochs: Option<u32>,

    /// vgg16_finetune: start from the head of this vgg16_features job
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
            session.out.note(format_args!("follow it with `pawprint watch {name}`"));
        }
        Ok(ExitStatus::Success)
    }
}
