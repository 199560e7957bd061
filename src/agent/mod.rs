//! The trainer on another machine: `pawprint trainer --from URL`. Fetches a job from the server, trains it
//! in a child process as the server would, and sends back what that reports and writes.
//!
//! Started on a node of a cluster by `executors`. The server may be away for a while: training
//! continues, and what was not acknowledged is sent again.
//!
//! ```text
//! <cache>/blobs, <cache>/decoded   images, for all jobs on this node
//! <cache>/weights                  files that jobs start from, by their hash
//! <cache>/attempts/<id>            a job in progress; locked by its trainer
//! ```

mod connection;
mod fetch;
mod relay;
mod uploads;
mod workspace;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use reqwest::Url;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    connection::{Connection, Lost},
    relay::Relay,
    uploads::Uploads,
    workspace::Workspace,
};
use crate::{
    executors::{
        End, Run, local,
        protocol::{COMPARED, Hello, Welcome},
    },
    telemetry::{self, LogFormat},
    training::{
        control::Command,
        events::Event,
        finish::{EVALUATION, MODEL},
    },
};

/// A trainer reports that it is alive every ten seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a trainer that was told to end may take, beyond its current batch.
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the attempt at `url`, with its token in the environment. `cache` is the node's folder.
#[must_use]
pub fn run(url: &Url, cache: &Path) -> ExitCode {
    telemetry::init(LogFormat::Text);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(attempt(url, cache));
            // What still waits for the network waits for nothing.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn attempt(url: &Url, cache: &Path) -> anyhow::Result<()> {
    let mut connection = Connection::new(url.clone())?;
    // Stopped before it began: nothing to save.
    let mut terminated = signal(SignalKind::terminate())?;
    let hello = Hello { node: node_name() };
    let welcome: Welcome = tokio::select! {
        welcome = connection.hello(&hello) => match welcome {
            Ok(welcome) => welcome,
            Err(Lost::Ended) => {
                tracing::info!("the server needs this attempt no more");
                return Ok(());
            }
            Err(lost) => return Err(lost.into()),
        },
        _ = terminated.recv() => bail!("terminated before the server was reached"),
    };
    let log = workspace::folder(cache, url)?.join(local::LOG);
    let relay = Relay::start(connection.clone(), log, welcome.next_sequence);
    let train = async {
        let workspace = Workspace::create(cache, url)?;
        let last = train(&connection, &workspace, &welcome, &relay, &mut terminated).await;
        // The log is in the folder.
        Ok::<_, anyhow::Error>((last?, workspace))
    };
    let ended = tokio::select! {
        ended = train => ended,
        lost = relay.lost() => {
            // The child process ends with this future.
            tracing::warn!("{lost}; stopping");
            return if matches!(lost, Lost::Ended) { Ok(()) } else { Err(lost.into()) };
        }
    };
    let (last, _workspace) = match ended {
        Ok((last, workspace)) => (last, Some(workspace)),
        Err(error) => {
            // Another node may do better.
            let detail = format!("the trainer on node {} failed: {error:#}", node_name());
            (Event::Died { code: "node_failed".to_owned(), detail }, None)
        }
    };
    // The log first: nothing is taken after the last event.
    let sent = async {
        relay.finish().await?;
        relay.send(last);
        relay.finish().await
    };
    match sent.await {
        Ok(()) | Err(Lost::Ended) => Ok(()),
        Err(lost) => Err(lost.into()),
    }
}

/// Trains; returns the last event.
async fn train(
    connection: &Connection,
    workspace: &Workspace,
    welcome: &Welcome,
    relay: &Relay,
    terminated: &mut tokio::signal::unix::Signal,
) -> anyhow::Result<Event> {
    let version = env!("CARGO_PKG_VERSION");
    if welcome.version != version {
        let (node, server) = (node_name(), &welcome.version);
        let detail = format!(
            "pawprint on node {node} is version {version}, the server {server}; install the same version on all nodes"
        );
        return Ok(Event::Failed { code: "version_mismatch".to_owned(), detail });
    }
    let mut commands = relay.commands();
    let folder = workspace.folder();
    {
        let fetch = fetch::all(connection, workspace, welcome);
        tokio::pin!(fetch);
        let mut beat = tokio::time::interval(crate::training::events::ALIVE_EVERY);
        loop {
            tokio::select! {
                fetched = &mut fetch => break fetched?,
                _ = beat.tick() => relay.send(Event::Alive),
                _ = terminated.recv() => return Ok(Event::Suspended),
                command = relay::next(&mut commands) => match command {
                    Command::Cancel => return Ok(Event::Cancelled),
                    Command::Suspend => return Ok(Event::Suspended),
                    // The trainer gets it below.
                    Command::Stop => {}
                },
            }
        }
    }
    let compared = welcome.compared.map(|model| (model, folder.join(COMPARED)));
    let run = local::start(folder, compared, None, SILENCE).context("can't start the trainer")?;
    let uploads = Uploads::new(connection.clone(), folder.to_owned(), &welcome.files);
    follow(run, &uploads, relay, terminated).await
}

/// Passes on what the trainer reports and writes, and what the server commands.
async fn follow(
    mut run: Run,
    uploads: &Uploads,
    relay: &Relay,
    terminated: &mut tokio::signal::unix::Signal,
) -> anyhow::Result<Event> {
    let mut commands = relay.commands();
    let (mut deadline, mut was_terminated) = (None, false);
    let mut silent_at = Some(tokio::time::Instant::now() + run.silence);
    loop {
        tokio::select! {
            biased;
            report = run.reports.recv() => {
                let Some(report) = report else { break };
                silent_at = Some(tokio::time::Instant::now() + run.silence);
                match report.event {
                    // Its file first: whoever reads the event finds it.
                    event @ Event::Evaluation(_) => {
                        uploads.file(EVALUATION).await?;
                        relay.send(event);
                    }
                    event if event.is_last() => {
                        match event {
                            // That of this node: another one may have space.
                            Event::Failed { ref code, ref detail } if code == "disk_full" => {
                                bail!("{detail} (the folder of --cluster-cache on this node)");
                            }
                            Event::Finished => uploads.file(MODEL).await?,
                            Event::Compared { .. } => {}
                            _ => uploads.newest_checkpoints().await?,
                        }
                        return Ok(event);
                    }
                    event => relay.send(event),
                }
            }
            command = relay::next(&mut commands) => {
                let _ = run.commands.send(command);
                if command != Command::Stop {
                    deadline = Some(tokio::time::Instant::now() + EXIT_TIMEOUT);
                }
            }
            _ = terminated.recv() => {
                tracing::info!("terminated; saving a checkpoint");
                was_terminated = true;
                let _ = run.commands.send(Command::Suspend);
                deadline = Some(tokio::time::Instant::now() + EXIT_TIMEOUT);
            }
            () = until(silent_at) => {
                tracing::warn!("the trainer sent nothing for too long; killing it");
                silent_at = None;
                run.kill.cancel();
            }
            () = until(deadline) => {
                tracing::warn!("the trainer did not exit in time; killing it");
                deadline = None;
                run.kill.cancel();
            }
        }
    }
    // Another trainer resumes from it.
    uploads.newest_checkpoints().await?;
    let end = run.ended.await?;
    if was_terminated {
        // Whoever ended all processes of the job wants its place, not its end.
        return Ok(Event::Suspended);
    }
    Ok(match end {
        End::Died(error) | End::NotStarted(error) => {
            Event::Died { code: error.code, detail: error.detail }
        }
    })
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The host name of this node.
fn node_name() -> String {
    sysinfo::System::host_name().unwrap_or_else(|_| "unknown".to_owned())
}
