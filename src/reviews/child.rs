//! The child process of a review: starts it, reads its events, and ends it when somebody cancels the
//! review, its dataset is deleted, a job begins, or the server shuts down.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Error, POLL_EVERY, Reviews};
use crate::{
    domain::{DatasetId, job::JobError},
    review::events::Event,
    training::control::Command,
};

/// A child that was asked to end and has not after this long is killed: what it has cached is whole.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a review ended.
pub(super) enum End {
    /// The result is written.
    Finished,
    /// It was asked to end.
    Interrupted,
    /// It failed.
    Failed(JobError),
}

/// Runs the review of `dataset` in `folder` to its end.
pub(super) async fn run(
    reviews: &Reviews,
    dataset: DatasetId,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<End, Error> {
    let log =
        OpenOptions::new().create(true).write(true).truncate(true).open(folder.join("log.txt"))?;
    let program = match &reviews.0.config.trainer_program {
        Some(program) => program.into(),
        // The running program itself, even if its file was replaced meanwhile.
        None if cfg!(target_os = "linux") => PathBuf::from("/proc/self/exe"),
        None => std::env::current_exe()?,
    };
    let mut child = tokio::process::Command::new(program)
        .env_remove("PAWPRINT_API_TOKEN")
        .env_remove("PAWPRINT_API_TOKEN_FILE")
        .env_remove("PAWPRINT_CONFIG")
        .env_remove("PAWPRINT_TLS_KEY")
        // As for trainers: without these, threads that wait take the processor, and a panic for want
        // of memory hangs.
        .env("OMP_WAIT_POLICY", "passive")
        .env("RUST_BACKTRACE", "0")
        .arg("reviewer")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C on a terminal reaches the whole group; children get commands instead.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        unreachable!("both are piped");
    };
    let mut jobs = reviews.0.scheduler.changes();
    let mut lines = BufReader::new(stdout).lines();
    let mut polls = tokio::time::interval(POLL_EVERY);
    let (mut end, mut deadline) = (None, None);
    loop {
        let stops = deadline.is_none();
        let interrupted = tokio::select! {
            biased;
            line = lines.next_line() => {
                let Some(line) = line? else { break };
                match serde_json::from_str(&line) {
                    Ok(Event::Progress(progress)) => {
                        if let Some(running) = &mut reviews.state().running {
                            running.progress = Some(progress);
                        }
                    }
                    Ok(Event::Finished) => end = Some(End::Finished),
                    Ok(Event::Ended) => end = Some(End::Interrupted),
                    Ok(Event::Failed { code, detail }) => {
                        end = Some(End::Failed(JobError { code, detail }));
                    }
                    Err(_) => tracing::warn!(line, "invalid event from a review"),
                }
                false
            }
            () = cancel.cancelled(), if stops => true,
            () = reviews.0.shutdown.cancelled(), if stops => true,
            // The scheduler lives as long as the server.
            changed = jobs.changed(), if stops => changed.is_err() || reviews.0.scheduler.is_busy(),
            _ = polls.tick(), if stops => reviews.is_deleted(dataset).await,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if !stops => {
                let _ = child.start_kill();
                break;
            }
        };
        if interrupted {
            let command = format!("{}\n", Command::Cancel.as_str());
            // A child that has ended does not read it.
            let _ = stdin.write_all(command.as_bytes()).await;
            deadline = Some(Instant::now() + EXIT_TIMEOUT);
        }
    }
    let status = child.wait().await?;
    let died = || {
        End::Failed(JobError {
            code: "review_died".to_owned(),
            detail: format!(
                "the process of the review ended early ({status}); see {}",
                folder.join("log.txt").display()
            ),
        })
    };
    Ok(match end {
        Some(end) => end,
        None if deadline.is_some() => End::Interrupted,
        None => died(),
    })
}
