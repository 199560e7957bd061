//! Slurm, through its commands. What it does in trouble was tried with Slurm 22.05.

use std::{io, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{
    protocol::TOKEN_VARIABLE,
    submission::{ClusterError, Status, Submission, last_line},
};
use crate::domain::excerpt::Excerpt;

/// While the controller is gone, its commands hang.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Seconds before a time limit at which the trainer is told to save its state.
const STOP_SECONDS: u32 = 60;

/// A Slurm cluster.
#[derive(Debug)]
pub struct Slurm {
    options: Vec<String>,
}

impl Slurm {
    /// The cluster that the commands on this machine belong to; `options` are passed to `sbatch`.
    #[must_use]
    pub fn new(options: Vec<String>) -> Self {
        Self { options: options.into_iter().filter(|option| !option.is_empty()).collect() }
    }

    pub(super) async fn submit(&self, submission: &Submission) -> Result<String, ClusterError> {
        let name = format!("pawprint-{}", submission.attempt);
        // It may have been submitted before: Slurm accepts a name twice.
        let mut known = Command::new("squeue");
        known.args(["--noheader", "--states=all", "--format=%i"]).arg(format!("--name={name}"));
        let known = run(&mut known).await?;
        if let Some(id) = known.lines().map(str::trim).find(|line| !line.is_empty()) {
            return Ok(id.to_owned());
        }
        let resources = submission.resources;
        let mut command = Command::new("sbatch");
        command
            .args(["--parsable", "--output=/dev/null"])
            .arg(format!("--job-name={name}"))
            .arg(format!("--comment={}", submission.name))
            .arg(format!("--cpus-per-task={}", resources.cpus))
            .arg(format!("--mem={}M", resources.memory.div_ceil(1 << 20)))
            .arg(format!("--signal=B:TERM@{STOP_SECONDS}"))
            // The value isn't shown by Slurm, as a command line would be.
            .arg(format!("--export={TOKEN_VARIABLE}"))
            .env(TOKEN_VARIABLE, submission.token.as_str());
        if resources.gpus > 0 {
            command.arg(format!("--gpus={}", resources.gpus));
        }
        // Another attempt has another id: the same one must not run again.
        command.args(&self.options).arg("--no-requeue");
        command.arg(format!("--wrap={}", submission.command()));
        let output = run(&mut command).await?;
        // `--parsable` prints the number, and the cluster's name after a semicolon.
        let id = output.trim().split(';').next().unwrap_or_default();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ClusterError::Unreachable(format!(
                "sbatch printed `{}` instead of a job number",
                Excerpt(output.trim())
            )));
        }
        Ok(id.to_owned())
    }

    pub(super) async fn status(&self, id: &str) -> Result<Status, ClusterError> {
        let mut command = Command::new("squeue");
        command.args(["--noheader", "--states=all", "--format=%T|%r", "--jobs", id]);
        let output = match run(&mut command).await {
            Ok(output) => output,
            // It was a while ago.
            Err(ClusterError::Refused(why)) if why.contains("Invalid job id") => {
                return Ok(Status::Unknown);
            }
            Err(error) => return Err(error),
        };
        let Some((state, reason)) = output.trim().split_once('|') else {
            return Ok(Status::Unknown);
        };
        Ok(match state {
            "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED"
            | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => {
                let reason = Some(reason).filter(|reason| *reason != "None");
                Status::Waiting(reason.map(|reason| format!("Slurm's reason: {reason}")))
            }
            "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT"
            | "RESIZING" => Status::Running,
            _ => Status::Ended(Some(format!("Slurm's state of it is {state} ({reason})"))),
        })
    }

    pub(super) async fn stop(&self, id: &str) -> Result<(), ClusterError> {
        run(Command::new("scancel").arg(id)).await.map(drop)
    }
}

/// Runs one of Slurm's commands and returns what it prints.
async fn run(command: &mut Command) -> Result<String, ClusterError> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match timeout(TIMEOUT, output).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ClusterError::Refused(format!(
                "`{name}` is not installed on this machine; --executor slurm needs sbatch, squeue and scancel"
            )));
        }
        Ok(Err(error)) => {
            return Err(ClusterError::Unreachable(format!("can't run `{name}`: {error}")));
        }
        Err(_) => {
            return Err(ClusterError::Unreachable(format!(
                "`{name}` did not answer within {} s",
                TIMEOUT.as_secs()
            )));
        }
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let why = format!("`{name}` failed: {}", Excerpt(last_line(&text)));
    // What is wrong with the request is said so; all else may pass.
    let refuses = [
        "Invalid job id specified",
        "Invalid account",
        "Invalid qos",
        "Invalid generic resource",
        "invalid partition specified",
        "Requested node configuration is not available",
        "Memory specification can not be satisfied",
        "unrecognized option",
        "invalid option",
    ];
    Err(if refuses.iter().any(|known| text.contains(known)) {
        ClusterError::Refused(why)
    } else {
        ClusterError::Unreachable(why)
    })
}
