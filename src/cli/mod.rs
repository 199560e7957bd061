//! The command line: one file a command. Called by `main` alone, on the process's main thread.
//!
//! `serve`, `trainer`, `predict --model FILE`, `backup`, `restore` and `doctor` do the work
//! themselves; every other command is a
//! client of a running server through `client`, and knows of it only what the HTTP API says.
//! Results go to standard output through `output`; errors, notes and progress bars go to
//! standard error. `anyhow` lives here and nowhere deeper.
//!
//! Exit codes (`Ending`): 0 success; 1 the command failed; 2 wrong usage; 3 no server answered;
//! 4 the job that was watched failed or was interrupted; 5 it was cancelled; 130 Ctrl-C.

mod answers;
mod args;
mod backup;
mod client;
mod control;
mod datasets;
mod doctor;
mod embed;
mod evaluate;
mod events;
mod healthcheck;
mod images;
mod import;
mod jobs;
mod models;
mod output;
mod pack;
mod predict;
mod progress;
mod report;
mod restore;
mod serve;
mod source;
mod train;
mod watch;
mod weights;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::json;

use self::{
    args::{ClientArgs, DataArgs},
    client::Client,
    output::Output,
};
use crate::config::ServeConfig;

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    the command failed: the server refused it, an image can't be read, `doctor` found a problem, …
  2    wrong usage
  3    no server answered
  4    the job that was watched failed or was interrupted
  5    the job that was watched was cancelled
  130  Ctrl-C";

/// From a folder of photos to a label over HTTP.
#[derive(Debug, Parser)]
#[command(name = "pawprint", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<ServeConfig>),
    /// Train one job (started by the server)
    #[command(hide = true)]
    Trainer {
        /// Folder of the job
        job_dir: PathBuf,
    },
    /// Make the model that stands in the binary out of a job's (for maintainers)
    #[command(hide = true)]
    Embed(embed::Embed),
    /// Put a folder or an archive of photos into a dataset
    Import(import::Import),
    /// List datasets, or delete one
    Datasets(datasets::Datasets),
    /// Start a training job
    Train(train::Train),
    /// List training jobs, newest first, or delete one
    Jobs(jobs::Jobs),
    /// Follow a job until it ends
    Watch(watch::Watch),
    /// End a job as cancelled; its last checkpoint is kept
    Cancel(control::Control),
    /// End training now and keep the best epoch so far
    Stop(control::Control),
    /// Go on with a cancelled, failed or interrupted job from its last completed epoch
    Resume(control::Control),
    /// Print how well a job's best epoch does on the test photos
    Evaluate(evaluate::Evaluate),
    /// Write all that is known of a job into one page
    Report(report::Report),
    /// Label photos
    Predict(predict::Predict),
    /// List models, choose which one answers, or delete one
    Models(models::Models),
    /// The VGG16 weights that two of the recipes begin with
    Weights(weights::Weights),
    /// Copy a data directory, also while a server uses it
    Backup(backup::Backup),
    /// Make a data directory out of a backup
    Restore(restore::Restore),
    /// Check everything in a data directory or a backup
    Doctor(doctor::Doctor),
    /// Ask the server on this machine whether it lives
    Healthcheck(healthcheck::Healthcheck),
}

/// How a command ended; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Success = 0,
    Failed = 1,
    WrongUsage = 2,
    NoServer = 3,
    JobFailed = 4,
    JobCancelled = 5,
    Interrupted = 130,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending as u8)
    }
}

/// What a client command works with.
struct Session {
    client: Client,
    out: Output,
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    use control::Action::{Cancel, Resume, Stop};

    match cli.command {
        Command::Serve(config) => serve::run(*config).into(),
        Command::Trainer { job_dir } => crate::training::run(&job_dir),
        Command::Embed(embed) => {
            let out = Output::new(false);
            finish(out, embed.run(out))
        }
        Command::Import(import) => ask(&import.client, async |s| import.run(s).await),
        Command::Train(train) => ask(&train.client, async |s| train.run(s).await),
        Command::Datasets(datasets) => ask(datasets.client(), async |s| datasets.run(s).await),
        Command::Jobs(jobs) => ask(jobs.client(), async |s| jobs.run(s).await),
        Command::Watch(watch) => ask(&watch.client, async |s| watch.run(s).await),
        Command::Cancel(control) => ask(&control.client, async |s| control.run(Cancel, s).await),
        Command::Stop(control) => ask(&control.client, async |s| control.run(Stop, s).await),
        Command::Resume(control) => ask(&control.client, async |s| control.run(Resume, s).await),
        Command::Evaluate(evaluate) => ask(&evaluate.client, async |s| evaluate.run(s).await),
        Command::Report(report) => ask(&report.client, async |s| report.run(s).await),
        Command::Predict(predict) => match predict.model_file() {
            Some(model) => {
                let out = Output::new(predict.client.json);
                let ending = predict.run_local(model, out);
                finish(out, ending)
            }
            None => ask(&predict.client, async |s| predict.run(s).await),
        },
        Command::Models(models) => ask(models.client(), async |s| models.run(s).await),
        Command::Weights(weights) => ask(weights.client(), async |s| weights.run(s).await),
        Command::Backup(backup) => work(&backup.data, async |out| backup.run(out).await),
        Command::Restore(restore) => work(&restore.data, async |out| restore.run(out).await),
        Command::Doctor(doctor) => work(&doctor.data, async |out| doctor.run(out).await),
        Command::Healthcheck(check) => check.run().into(),
    }
}

/// Runs a client command on a runtime of this one thread.
fn ask(
    args: &ClientArgs,
    command: impl AsyncFnOnce(&Session) -> anyhow::Result<Ending>,
) -> ExitCode {
    let out = Output::new(args.json);
    let ending = || -> anyhow::Result<Ending> {
        let runtime = runtime()?;
        let session = Session { client: Client::new(args)?, out };
        let ending = runtime.block_on(command(&session));
        // A thread that still packs an upload must not hold the process back.
        runtime.shutdown_background();
        ending
    };
    finish(out, ending())
}

/// Runs a command that works on the data itself, on this one thread.
fn work(args: &DataArgs, command: impl AsyncFnOnce(Output) -> anyhow::Result<Ending>) -> ExitCode {
    let out = Output::new(args.json);
    finish(out, runtime().and_then(|runtime| runtime.block_on(command(out))))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")
}

/// Reports an error, if there was one, and says how the process ends.
fn finish(out: Output, ending: anyhow::Result<Ending>) -> ExitCode {
    let error = match ending {
        Ok(ending) => return ending.into(),
        Err(error) => error,
    };
    if error.is::<output::Closed>() {
        return Ending::Success.into();
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
        Some(client::Error::NoServer { .. }) => Ending::NoServer.into(),
        _ => Ending::Failed.into(),
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
        for ending in [
            Ending::Success,
            Ending::Failed,
            Ending::WrongUsage,
            Ending::NoServer,
            Ending::JobFailed,
            Ending::JobCancelled,
            Ending::Interrupted,
        ] {
            assert!(help.contains(&format!("\n  {} ", ending as u8)), "{ending:?}");
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
