//! One trainer: starts it, reads its events, sends it commands, and kills it if it does not exit.

use std::{
    ffi::OsString, fs::OpenOptions, io, panic::AssertUnwindSafe, path::Path, process::Stdio,
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Scheduler,
    outcome::{RequestedExit, TrainerExit, Unsaved, exit_error, record_command, silence_error},
};
use crate::{
    domain::{
        JobId,
        job::{ControlRequest, JobError},
    },
    storage::jobs,
    training::{control::Command, events::Event, spec::Spec},
};

/// A trainer checks for commands once per batch; one that has not exited this long after a cancel,
/// or after its last event, is killed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Settings of glibc's allocator; others ignore them. By default each of the network's feature
/// maps, 65 MB and more in a batch of 32, is mapped, zeroed page by page and unmapped at every
/// step. With all of them kept in one heap and in huge pages, a step of the scratch CNN took 245 ms
/// instead of 336 ms, without a page fault (2 cores, bf16).
const MALLOC: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:glibc.malloc.top_pad=67108864:glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1",
);

/// By default libtorch convolves on a GPU with 10 bits of each 32-bit number's mantissa; a job that
/// requests fp32 must get it.
const FULL_PRECISION: (&str, &str) = ("NVIDIA_TF32_OVERRIDE", "0");

/// By default a thread of libgomp that waits for the others of its team spins, and on a busy machine it
/// takes the processor from those it waits for: beside a compiler, an epoch of `scratch_cnn` took 27 s
/// instead of 65 s (2 cores), one of regression on features 0.6 s instead of 5 s.
const NO_SPINNING: (&str, &str) = ("OMP_WAIT_POLICY", "passive");

/// Resolving a stack takes memory. If a panic says that there is none, the trainer would hang in it.
const NO_BACKTRACE: (&str, &str) = ("RUST_BACKTRACE", "0");

/// The slot of a running job among the trainers; freed when it is dropped.
pub(super) struct Slot {
    pub(super) scheduler: Scheduler,
    pub(super) id: JobId,
}

impl Slot {
    /// Runs one trainer for the job to its end, and saves the outcome of the job.
    pub(super) async fn execute(self, commands: mpsc::UnboundedReceiver<Command>) {
        let (scheduler, id) = (self.scheduler.clone(), self.id);
        let mut requested_exit = RequestedExit::None;
        let run = AssertUnwindSafe(scheduler.run_trainer(id, commands, &mut requested_exit))
            .catch_unwind();
        let exit = run.await.unwrap_or_else(|_| TrainerExit::Failed(panic_error()));
        // Before the outcome is saved: once the job is queued, another trainer may run for it.
        drop(self);
        let finalize =
            AssertUnwindSafe(scheduler.finalize(id, exit, requested_exit)).catch_unwind();
        if finalize.await.is_err() {
            scheduler
                .unfinalized()
                .insert(id, (TrainerExit::Failed(panic_error()), requested_exit));
        }
        scheduler.0.wake.notify_one();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.scheduler.running().remove(&self.id);
        self.scheduler.0.wake.notify_one();
    }
}

fn panic_error() -> JobError {
    JobError {
        code: "internal".to_owned(),
        detail: "the server failed while it watched the trainer; see the server log, then resume the job".to_owned(),
    }
}

impl Scheduler {
    async fn run_trainer(
        &self,
        id: JobId,
        mut commands: mpsc::UnboundedReceiver<Command>,
        requested_exit: &mut RequestedExit,
    ) -> TrainerExit {
        match self.ensure_weights(id, &mut commands, requested_exit).await {
            Err(exit) => exit,
            Ok(()) => match self.train(id, None, &mut commands, requested_exit).await {
                TrainerExit::Finished(_) => self.compare(id, &mut commands, requested_exit).await,
                exit => exit,
            },
        }
    }

    /// Trains a job, or evaluates the model in the file `compared` on its images.
    pub(super) async fn train(
        &self,
        id: JobId,
        compared: Option<&Path>,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        requested_exit: &mut RequestedExit,
    ) -> TrainerExit {
        match self.start(id, compared) {
            Ok(child) => self.supervise(id, child, commands, requested_exit).await,
            Err(error) => {
                tracing::error!(job.id = %id, %error, "can't start a trainer");
                TrainerExit::Failed(JobError {
                    code: "trainer_not_started".to_owned(),
                    detail: "the trainer could not be started; see the server log".to_owned(),
                })
            }
        }
    }

    fn start(&self, id: JobId, compared: Option<&Path>) -> io::Result<Child> {
        let folder = self.0.data_dir.job(id);
        let (blobs, cache) = (self.0.data_dir.blobs(), self.0.data_dir.cache());
        if let Err(error) = Spec::relocate(&folder, blobs, cache) {
            // The trainer ends with the reason.
            tracing::warn!(job.id = %id, %error, "a job's spec can't be read or written");
        }
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log.txt"))?;
        let mut command = tokio::process::Command::new(self.program()?);
        command
            .arg("trainer")
            .arg(&folder)
            .args(compared.into_iter().flat_map(|model| [Path::new("--compare"), model]))
            // What a trainer does not need.
            .env_remove("PAWPRINT_API_TOKEN")
            .env_remove("PAWPRINT_API_TOKEN_FILE")
            .env_remove("PAWPRINT_CONFIG")
            .env_remove("PAWPRINT_TLS_KEY")
            .env(MALLOC.0, MALLOC.1)
            .env(FULL_PRECISION.0, FULL_PRECISION.1)
            .env(NO_BACKTRACE.0, NO_BACKTRACE.1)
            .env(NO_SPINNING.0, NO_SPINNING.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C on a terminal reaches the whole group; trainers get commands instead.
            .process_group(0)
            .kill_on_drop(true);
        command.spawn()
    }

    /// The running program itself: on Linux even if its file was replaced meanwhile.
    fn program(&self) -> io::Result<OsString> {
        match &self.0.config.trainer_program {
            Some(program) => Ok(program.into()),
            None if cfg!(target_os = "linux") => Ok("/proc/self/exe".into()),
            None => std::env::current_exe().map(Into::into),
        }
    }

    /// Reads the trainer's events and passes commands on until it has ended.
    async fn supervise(
        &self,
        id: JobId,
        mut child: Child,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        requested_exit: &mut RequestedExit,
    ) -> TrainerExit {
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped");
        };
        let mut deadline = None;
        // A user may have cancelled or stopped the job before this trainer could get commands.
        if let Some(request) = self.requested(id).await {
            send_command(&mut stdin, request).await;
            record_command(requested_exit, request);
            deadline = (request == Command::Cancel).then(|| Instant::now() + EXIT_TIMEOUT);
        }
        let mut lines = BufReader::new(stdout).lines();
        let mut last = None;
        let silence = self.0.config.trainer_silence;
        let mut silent_at = Instant::now() + silence;
        loop {
            tokio::select! {
                // Events that were sent count before a timeout.
                biased;
                line = lines.next_line() => {
                    match line {
                    Ok(Some(line)) => match serde_json::from_str::<Event>(&line) {
                        Ok(event) => match self.handle_event(id, event).await {
                            Ok(None) => {}
                            Ok(Some(exit)) => {
                                last = Some(exit);
                                deadline = Some(Instant::now() + EXIT_TIMEOUT);
                            }
                            // The next trainer reports it again.
                            Err(Unsaved) if *requested_exit == RequestedExit::None => {
                                send_command(&mut stdin, Command::Suspend).await;
                                *requested_exit = RequestedExit::Suspend;
                                deadline = Some(Instant::now() + self.suspend_timeout());
                            }
                            Err(Unsaved) => {}
                        },
                        Err(_) => tracing::warn!(job.id = %id, line, "invalid event from trainer"),
                    },
                    Ok(None) => break,
                    // Not UTF-8: the lines after it may be.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        tracing::warn!(job.id = %id, %error, "can't read a line of trainer output");
                    }
                    Err(error) => {
                        tracing::error!(job.id = %id, %error, "can't read trainer output");
                        let _ = child.start_kill();
                        break;
                    }
                    }
                    silent_at = Instant::now() + silence;
                }
                Some(command) = commands.recv() => {
                    send_command(&mut stdin, command).await;
                    record_command(requested_exit, command);
                    if command == Command::Cancel {
                        deadline = Some(Instant::now() + EXIT_TIMEOUT);
                    }
                }
                () = self.0.shutdown.cancelled(), if *requested_exit != RequestedExit::Suspend => {
                    send_command(&mut stdin, Command::Suspend).await;
                    *requested_exit = RequestedExit::Suspend;
                    deadline = Some(Instant::now() + self.suspend_timeout());
                }
                () = sleep_until(silent_at), if last.is_none() => {
                    tracing::warn!(job.id = %id, seconds = silence.as_secs(), "trainer sent nothing for too long; killing it");
                    last = Some(TrainerExit::Died(silence_error(silence)));
                    let _ = child.start_kill();
                }
                () = sleep_until_deadline(deadline) => {
                    tracing::warn!(job.id = %id, "trainer did not exit in time; killing it");
                    deadline = None;
                    let _ = child.start_kill();
                }
            }
        }
        let status = child.wait().await;
        last.unwrap_or_else(|| match status {
            Ok(status) => TrainerExit::Died(exit_error(status)),
            Err(error) => TrainerExit::Died(JobError {
                code: "trainer_killed".to_owned(),
                detail: error.to_string(),
            }),
        })
    }

    /// Trainers get most of the shutdown grace period; the rest is for saving outcomes.
    fn suspend_timeout(&self) -> Duration {
        Duration::from_secs(self.0.config.shutdown_seconds).mul_f64(0.8)
    }

    pub(super) async fn requested(&self, id: JobId) -> Option<Command> {
        let mut connection = self.0.storage.read().await.ok()?;
        match jobs::requested(&mut connection, id).await.ok()?? {
            ControlRequest::Cancel => Some(Command::Cancel),
            ControlRequest::Stop => Some(Command::Stop),
        }
    }
}

/// A trainer that has ended does not read it; its end is noticed elsewhere.
async fn send_command(stdin: &mut ChildStdin, command: Command) {
    let _ = stdin.write_all(format!("{}\n", command.as_str()).as_bytes()).await;
    let _ = stdin.flush().await;
}

async fn sleep_until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
