//! One trainer: started, listened to, told to end, and, where it won't, killed.

use std::{
    ffi::OsString, fs::OpenOptions, io, panic::AssertUnwindSafe, process::Stdio, time::Duration,
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
    outcome::{Asked, Ending, Unsaved, death, note, silent},
};
use crate::{
    domain::{
        JobId,
        job::{JobError, Request},
    },
    storage::jobs,
    training::{control::Command, events::Event, spec::Spec},
};

/// A trainer looks for commands once a batch; one that has not ended so long after a cancel, or
/// after its own last word, is killed.
const END_WITHIN: Duration = Duration::from_secs(20);

/// Settings of glibc's allocator; others pass them over. By default each of the network's feature
/// maps, 65 MB and more in a batch of 32, is mapped, zeroed page by page and unmapped at every
/// step. Kept instead, in one heap and in huge pages, a step of the scratch CNN took 245 ms
/// instead of 336 ms, without a page fault (2 cores, bf16).
const MALLOC: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:glibc.malloc.top_pad=67108864:glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1",
);

/// By default libtorch convolves on a GPU with 10 bits of each 32-bit number's mantissa; where a job
/// asks for fp32, it is to get that.
const FULL_PRECISION: (&str, &str) = ("NVIDIA_TF32_OVERRIDE", "0");

/// The place of a running job among the trainers that may run; free again when it is dropped.
pub(super) struct Slot {
    pub(super) scheduler: Scheduler,
    pub(super) id: JobId,
}

impl Slot {
    /// Runs one trainer for the job to its end, and settles what becomes of the job.
    pub(super) async fn execute(self, commands: mpsc::UnboundedReceiver<Command>) {
        let (scheduler, id) = (self.scheduler.clone(), self.id);
        let mut asked = Asked::Nothing;
        let run = AssertUnwindSafe(scheduler.run_trainer(id, commands, &mut asked)).catch_unwind();
        let ending = run.await.unwrap_or_else(|_| Ending::Failed(panicked()));
        // Before the outcome is saved: once the job is queued, another trainer may run for it.
        drop(self);
        let settle = AssertUnwindSafe(scheduler.settle(id, ending, asked)).catch_unwind();
        if settle.await.is_err() {
            scheduler.unsettled().insert(id, (Ending::Failed(panicked()), asked));
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

fn panicked() -> JobError {
    JobError {
        code: "internal".to_owned(),
        detail: "the server failed while it watched the trainer; its log has the details, and the job can be resumed".to_owned(),
    }
}

impl Scheduler {
    async fn run_trainer(
        &self,
        id: JobId,
        mut commands: mpsc::UnboundedReceiver<Command>,
        asked: &mut Asked,
    ) -> Ending {
        match self.provide(id, &mut commands, asked).await {
            Err(ending) => ending,
            Ok(()) => self.train(id, commands, asked).await,
        }
    }

    async fn train(
        &self,
        id: JobId,
        commands: mpsc::UnboundedReceiver<Command>,
        asked: &mut Asked,
    ) -> Ending {
        match self.start(id) {
            Ok(child) => self.attend(id, child, commands, asked).await,
            Err(error) => {
                tracing::error!(job.id = %id, %error, "a trainer can't be started");
                Ending::Failed(JobError {
                    code: "trainer_not_started".to_owned(),
                    detail: "the trainer could not be started; the server's log says why"
                        .to_owned(),
                })
            }
        }
    }

    fn start(&self, id: JobId) -> io::Result<Child> {
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
            .env_remove("PAWPRINT_API_TOKEN")
            .env(MALLOC.0, MALLOC.1)
            .env(FULL_PRECISION.0, FULL_PRECISION.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C on a terminal reaches the whole group; trainers are told by us.
            .process_group(0)
            .kill_on_drop(true);
        command.spawn()
    }

    /// The very program that runs: on Linux also where its file was replaced meanwhile.
    fn program(&self) -> io::Result<OsString> {
        match &self.0.config.trainer_program {
            Some(program) => Ok(program.into()),
            None if cfg!(target_os = "linux") => Ok("/proc/self/exe".into()),
            None => std::env::current_exe().map(Into::into),
        }
    }

    /// Listens to the trainer and passes commands on until it has ended.
    async fn attend(
        &self,
        id: JobId,
        mut child: Child,
        mut commands: mpsc::UnboundedReceiver<Command>,
        asked: &mut Asked,
    ) -> Ending {
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped");
        };
        let mut deadline = None;
        // A person may have asked before this trainer was there to be told.
        if let Some(request) = self.requested(id).await {
            tell(&mut stdin, request).await;
            note(asked, request);
            deadline = (request == Command::Cancel).then(|| Instant::now() + END_WITHIN);
        }
        let mut lines = BufReader::new(stdout).lines();
        let mut last = None;
        let silence = self.0.config.trainer_silence;
        let mut silent_at = Instant::now() + silence;
        loop {
            tokio::select! {
                // What has been said counts before that nothing more was.
                biased;
                line = lines.next_line() => {
                    match line {
                    Ok(Some(line)) => match serde_json::from_str::<Event>(&line) {
                        Ok(event) => match self.take(id, event).await {
                            Ok(None) => {}
                            Ok(Some(ending)) => {
                                last = Some(ending);
                                deadline = Some(Instant::now() + END_WITHIN);
                            }
                            // The next trainer reports it again.
                            Err(Unsaved) if *asked == Asked::Nothing => {
                                tell(&mut stdin, Command::Suspend).await;
                                *asked = Asked::Suspend;
                                deadline = Some(Instant::now() + self.suspend_within());
                            }
                            Err(Unsaved) => {}
                        },
                        Err(_) => tracing::warn!(job.id = %id, line, "not an event"),
                    },
                    Ok(None) => break,
                    // Not UTF-8: the lines after it may be.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        tracing::warn!(job.id = %id, %error, "a trainer's line can't be read");
                    }
                    Err(error) => {
                        tracing::error!(job.id = %id, %error, "a trainer's output can't be read");
                        let _ = child.start_kill();
                        break;
                    }
                    }
                    silent_at = Instant::now() + silence;
                }
                Some(command) = commands.recv() => {
                    tell(&mut stdin, command).await;
                    note(asked, command);
                    if command == Command::Cancel {
                        deadline = Some(Instant::now() + END_WITHIN);
                    }
                }
                () = self.0.shutdown.cancelled(), if *asked != Asked::Suspend => {
                    tell(&mut stdin, Command::Suspend).await;
                    *asked = Asked::Suspend;
                    deadline = Some(Instant::now() + self.suspend_within());
                }
                () = sleep_until(silent_at), if last.is_none() => {
                    tracing::warn!(job.id = %id, seconds = silence.as_secs(), "a trainer is silent and is killed");
                    last = Some(Ending::Died(silent(silence)));
                    let _ = child.start_kill();
                }
                () = until(deadline) => {
                    tracing::warn!(job.id = %id, "a trainer did not end in time and is killed");
                    deadline = None;
                    let _ = child.start_kill();
                }
            }
        }
        let status = child.wait().await;
        last.unwrap_or_else(|| match status {
            Ok(status) => Ending::Died(death(status)),
            Err(error) => Ending::Died(JobError {
                code: "trainer_killed".to_owned(),
                detail: error.to_string(),
            }),
        })
    }

    /// Trainers get most of the time that a shutdown may take; the rest is for the books.
    fn suspend_within(&self) -> Duration {
        Duration::from_secs(self.0.config.shutdown_seconds).mul_f64(0.8)
    }

    pub(super) async fn requested(&self, id: JobId) -> Option<Command> {
        let mut connection = self.0.storage.read().await.ok()?;
        match jobs::requested(&mut connection, id).await.ok()?? {
            Request::Cancel => Some(Command::Cancel),
            Request::Stop => Some(Command::Stop),
        }
    }
}

/// A trainer that has ended hears nothing; its end is seen elsewhere.
async fn tell(stdin: &mut ChildStdin, command: Command) {
    let _ = stdin.write_all(format!("{}\n", command.as_str()).as_bytes()).await;
    let _ = stdin.flush().await;
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
