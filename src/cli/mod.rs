//! The command line: one file a command. Called by `main` alone, on the process's main thread.
//!
//! `serve`, `config`, `trainer`, `reviewer`, `predict --model FILE`, `export FILE`, `backup`, `restore` and `doctor`
//! do the work themselves; every other command is a client of a running server through `client`, and knows only
//! what the HTTP API returns. Results go to standard output through `output`; errors, notes and progress bars go to standard error.
//! `anyhow` lives here and nowhere deeper.
//!
//! Exit codes (`ExitStatus`): 0 success; 1 the command failed; 2 invalid usage; 3 can't connect to a
//! server; 4 the watched job failed or was interrupted; 5 it was cancelled; 130 Ctrl-C.

mod args;
mod backup;
mod classes;
mod client;
mod comparison;
mod config;
mod control;
mod datasets;
mod doctor;
mod embed;
mod evaluate;
mod events;
mod export;
mod healthcheck;
mod images;
mod import;
mod jobs;
mod model_history;
mod models;
mod output;
mod pack;
mod predict;
mod predictions;
mod progress;
mod report;
mod responses;
mod restore;
mod review;
mod serve;
mod service;
mod settings;
mod shadow;
mod source;
mod tokens;
mod train;
mod trainer;
mod unverified_tls;
mod upload;
mod watch;
mod webhooks;
mod weights;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::json;

use self::{
    args::{ClientArgs, DataArgs},
    client::Client,
    output::Output,
    settings::Invocation,
};

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    the command failed (for example: request rejected, unreadable image, `doctor` found a
       problem)
  2    invalid usage
  3    can't connect to a server
  4    the watched job failed or was interrupted
  5    the watched job was cancelled
  130  Ctrl-C";

/// Train, evaluate and serve image classifiers
#[derive(Debug, Parser)]
#[command(name = "pawprint", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<serve::Serve>),
    /// Print the settings of the server and where each comes from
    Config(Box<config::Config>),
    /// Train one job (started by the server)
    #[command(hide = true)]
    Trainer(trainer::Trainer),
    /// Review the images of one dataset (started by the server)
    #[command(hide = true)]
    Reviewer {
        /// Folder of the review
        folder: PathBuf,
    },
    /// Build the built-in default model from a trained model (for maintainers)
    #[command(hide = true)]
    Embed(embed::Embed),
    /// Import a folder or archive of images into a dataset
    Import(import::Import),
    /// List datasets, change the classes of one, reassign its images to splits, or delete it
    Datasets(datasets::Datasets),
    /// Show what a dataset hides: wrong labels, near-duplicates, outliers, what to label next
    Review(review::Review),
    /// Start a training job
    Train(train::Train),
    /// List training jobs, newest first, or delete one
    Jobs(jobs::Jobs),
    /// Follow a job until it finishes
    Watch(watch::Watch),
    /// Cancel a job and keep its last checkpoint
    Cancel(control::Control),
    /// Stop training early and keep the best epoch so far
    Stop(control::Control),
    /// Resume a cancelled, failed or interrupted job from its last checkpoint
    Resume(control::Control),
    /// Print the test-split evaluation of a job's best epoch
    Evaluate(evaluate::Evaluate),
    /// Write a self-contained HTML report for a job
    Report(report::Report),
    /// Predict the class of images
    Predict(predict::Predict),
    /// List the log of predictions, give feedback, measure drift
    Predictions(predictions::Predictions),
    /// List models, choose the one in service, compare two, set aliases, or delete one
    Models(models::Models),
    /// Export a model for other runtimes
    Export(export::Export),
    /// List the pretrained weights; show, upload or download those of VGG16
    Weights(weights::Weights),
    /// List, create and revoke API tokens
    Tokens(tokens::Tokens),
    /// List, add, test and remove webhooks: who is told when a job has ended
    Webhooks(webhooks::Webhooks),
    /// Back up a data directory, also while a server uses it
    Backup(backup::Backup),
    /// Restore a data directory from a backup
    Restore(restore::Restore),
    /// Check a data directory or a backup for damage
    Doctor(doctor::Doctor),
    /// Check that the local server is running
    Healthcheck(healthcheck::Healthcheck),
}

/// How a command ended; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExitStatus {
    Success = 0,
    Failed = 1,
    WrongUsage = 2,
    NoServer = 3,
    JobFailed = 4,
    JobCancelled = 5,
    Interrupted = 130,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// What a client command works with.
struct Session {
    client: Client,
    out: Output,
}

/// Runs the command of this process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    match Invocation::parse() {
        Ok(invocation) => run_command(invocation),
        Err(error) => {
            Output::new(false).error(error);
            ExitStatus::WrongUsage.into()
        }
    }
}

fn run_command(Invocation { cli, origins }: Invocation) -> ExitCode {
    use control::Action::{Cancel, Resume, Stop};

    match cli.command {
        Command::Serve(serve) => serve.run().into(),
        Command::Config(config) => {
            let out = Output::new(config.json);
            finish(out, config.run(&origins, out))
        }
        Command::Trainer(trainer) => trainer.run(),
        Command::Reviewer { folder } => crate::review::run(&folder),
        Command::Embed(embed) => {
            let out = Output::new(false);
            finish(out, embed.run(out))
        }
        Command::Import(import) => run_client(&import.client, async |s| import.run(s).await),
        Command::Review(review) => run_client(&review.client, async |s| review.run(s).await),
        Command::Train(train) => run_client(&train.client, async |s| train.run(s).await),
        Command::Datasets(datasets) => {
            run_client(datasets.client(), async |s| datasets.run(s).await)
        }
        Command::Jobs(jobs) => run_client(jobs.client(), async |s| jobs.run(s).await),
        Command::Watch(watch) => run_client(&watch.client, async |s| watch.run(s).await),
        Command::Cancel(control) => {
            run_client(&control.client, async |s| control.run(Cancel, s).await)
        }
        Command::Stop(control) => run_client(&control.client, async |s| control.run(Stop, s).await),
        Command::Resume(control) => {
            run_client(&control.client, async |s| control.run(Resume, s).await)
        }
        Command::Evaluate(evaluate) => {
            run_client(&evaluate.client, async |s| evaluate.run(s).await)
        }
        Command::Report(report) => run_client(&report.client, async |s| report.run(s).await),
        Command::Predict(predict) => match predict.model_file() {
            Some(model) => {
                let out = Output::new(predict.client.json);
                let status = predict.run_local(model, out);
                finish(out, status)
            }
            None => run_client(&predict.client, async |s| predict.run(s).await),
        },
        Command::Predictions(predictions) => {
            run_client(predictions.client(), async |s| predictions.run(s).await)
        }
        Command::Export(export) => match export.model_file() {
            Some(model) => {
                let out = Output::new(export.client.json);
                let status = export.run_local(model, out);
                finish(out, status)
            }
            None => run_client(&export.client, async |s| export.run(s).await),
        },
        Command::Models(models) => run_client(models.client(), async |s| models.run(s).await),
        Command::Weights(weights) => run_client(weights.client(), async |s| weights.run(s).await),
        Command::Tokens(tokens) => run_client(tokens.client(), async |s| tokens.run(s).await),
        Command::Webhooks(webhooks) => {
            run_client(webhooks.client(), async |s| webhooks.run(s).await)
        }
        Command::Backup(backup) => run_locally(&backup.data, async |out| backup.run(out).await),
        Command::Restore(restore) => run_locally(&restore.data, async |out| restore.run(out).await),
        Command::Doctor(doctor) => run_locally(&doctor.data, async |out| doctor.run(out).await),
        Command::Healthcheck(check) => check.run().into(),
    }
}

/// Runs a client command on a runtime of this one thread.
fn run_client(
    args: &ClientArgs,
    command: impl AsyncFnOnce(&Session) -> anyhow::Result<ExitStatus>,
) -> ExitCode {
    let out = Output::new(args.json);
    let status = || -> anyhow::Result<ExitStatus> {
        let runtime = runtime()?;
        let session = Session { client: Client::new(args)?, out };
        let status = runtime.block_on(command(&session));
        // A thread that is still packing an upload must not keep the process alive.
        runtime.shutdown_background();
        status
    };
    finish(out, status())
}

/// Runs a command that works on the data directory itself, on this one thread.
fn run_locally(
    args: &DataArgs,
    command: impl AsyncFnOnce(Output) -> anyhow::Result<ExitStatus>,
) -> ExitCode {
    let out = Output::new(args.json);
    finish(out, runtime().and_then(|runtime| runtime.block_on(command(out))))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")
}

/// Reports an error, if there was one, and returns how the process ends.
fn finish(out: Output, status: anyhow::Result<ExitStatus>) -> ExitCode {
    let error = match status {
        Ok(status) => return status.into(),
        Err(error) => error,
    };
    if error.is::<output::StdoutClosed>() {
        return ExitStatus::Success.into();
    }
    let refused = error.downcast_ref::<client::Error>();
    match refused {
        Some(client::Error::Problem(problem)) if out.is_json() => out.problem(&problem.body),
        _ if out.is_json() => {
            let code = refused.map_or("failed", client::Error::code);
            out.problem(&json!({ "code": code, "detail": format!("{error:#}") }));
        }
        _ => out.error(format_args!("{error:#}")),
    }
    match refused {
        Some(client::Error::NoServer { .. } | client::Error::Certificate { .. }) => {
            ExitStatus::NoServer.into()
        }
        _ => ExitStatus::Failed.into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_documents_the_exit_codes() {
        let help = Cli::command().render_help().to_string();
        for status in [
            ExitStatus::Success,
            ExitStatus::Failed,
            ExitStatus::WrongUsage,
            ExitStatus::NoServer,
            ExitStatus::JobFailed,
            ExitStatus::JobCancelled,
            ExitStatus::Interrupted,
        ] {
            assert!(help.contains(&format!("\n  {} ", status as u8)), "{status:?}");
        }
        assert!(!help.contains("trainer"));
    }

    #[test]
    fn client_options_are_not_the_servers() {
        let refused = Cli::try_parse_from(["pawprint", "serve", "--json"]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::UnknownArgument);
        let refused = Cli::try_parse_from(["pawprint", "jobs", "--data-dir", "x"]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::UnknownArgument);
    }
}
