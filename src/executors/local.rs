//! Trainers on the server's own machine: child processes, `pawprint trainer`.

use std::{
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{End, Report, Run, protocol::TOKEN_VARIABLE};
use crate::{
    domain::{ModelId, job::JobError},
    training::{control::Command, events::Event},
};

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

/// A trainer checks for commands once per batch; one that has not exited this long after a cancel,
/// or after its last event, is killed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Name of the trainer's log in the job's folder.
pub const LOG: &str = "log.txt";

/// Starts the trainer of the job in `folder`, or the evaluation of the model `compared`, in that file,
/// on the images of that job. `program` is the binary, by default the running one.
///
/// # Errors
/// The log can't be opened, or the process can't be started.
pub fn start(
    folder: &Path,
    compared: Option<(ModelId, PathBuf)>,
    program: Option<&Path>,
    silence: Duration,
) -> io::Result<Run> {
    let options: Vec<&OsStr> = match &compared {
        Some((_, file)) => vec!["--compare".as_ref(), file.as_ref()],
        None => Vec::new(),
    };
    let run = spawn(folder, &options, program, silence)?;
    Ok(Run { compared: compared.map(|(model, _)| model), ..run })
}

/// Starts a trainer in `folder` that also reports each of its steps and its peak memory.
///
/// # Errors
/// As [`start`].
pub fn probe(folder: &Path, program: Option<&Path>, silence: Duration) -> io::Result<Run> {
    spawn(folder, &["--probe".as_ref()], program, silence)
}

fn spawn(
    folder: &Path,
    options: &[&OsStr],
    program: Option<&Path>,
    silence: Duration,
) -> io::Result<Run> {
    let log = OpenOptions::new().create(true).append(true).open(folder.join(LOG))?;
    let program = program.map_or_else(this_program, |program| Ok(program.into()))?;
    let mut command = tokio::process::Command::new(program);
    command
        .arg("trainer")
        .arg(folder)
        .args(options)
        // What a trainer does not need.
        .env_remove("PAWPRINT_API_TOKEN")
        .env_remove(TOKEN_VARIABLE)
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
    let mut child = command.spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        unreachable!("both are piped");
    };
    // One at a time: while an event is being saved, the trainer waits, its pipe full.
    let (sender, reports) = mpsc::channel(1);
    let (commands, receiver) = mpsc::unbounded_channel();
    let kill = CancellationToken::new();
    let trainer = Trainer {
        name: folder.file_name().map(PathBuf::from).unwrap_or_default(),
        child,
        stdin,
        lines: BufReader::new(stdout).lines(),
        reports: sender,
        commands: receiver,
        kill: kill.clone(),
    };
    Ok(Run {
        reports,
        commands,
        kill,
        ended: tokio::spawn(trainer.watch()),
        silence,
        exit_timeout: EXIT_TIMEOUT,
        outlives_server: false,
        compared: None,
    })
}

/// The running program itself: on Linux even if its file was replaced meanwhile.
fn this_program() -> io::Result<OsString> {
    if cfg!(target_os = "linux") {
        Ok("/proc/self/exe".into())
    } else {
        std::env::current_exe().map(Into::into)
    }
}

/// A child process and its pipes.
struct Trainer {
    /// The job's id.
    name: PathBuf,
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    reports: mpsc::Sender<Report>,
    commands: mpsc::UnboundedReceiver<Command>,
    kill: CancellationToken,
}

impl Trainer {
    /// Passes events and commands on until the process has ended.
    async fn watch(mut self) -> End {
        let mut killed = false;
        loop {
            tokio::select! {
                () = self.kill.cancelled(), if !killed => {
                    killed = true;
                    let _ = self.child.start_kill();
                }
                // Whoever reads them is gone, and so is the job's slot.
                () = self.reports.closed(), if !killed => {
                    killed = true;
                    let _ = self.child.start_kill();
                }
                Some(command) = self.commands.recv() => self.send(command).await,
                line = self.lines.next_line() => match line {
                    Ok(Some(line)) => {
                        // No receiver: the loop ends it.
                        let _ = self.reports.send(self.event(&line).into()).await;
                    }
                    Ok(None) => break,
                    // Not UTF-8: the lines after it may be.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        tracing::warn!(job.id = %self.name.display(), %error, "can't read a line of trainer output");
                        let _ = self.reports.send(Event::Alive.into()).await;
                    }
                    Err(error) => {
                        tracing::error!(job.id = %self.name.display(), %error, "can't read trainer output");
                        let _ = self.child.start_kill();
                        break;
                    }
                },
            }
        }
        End::Died(match self.child.wait().await {
            Ok(status) => exit_error(status),
            Err(error) => JobError { code: "trainer_killed".to_owned(), detail: error.to_string() },
        })
    }

    /// The event in a line. Whatever it says, the trainer is alive.
    fn event(&self, line: &str) -> Event {
        serde_json::from_str(line).unwrap_or_else(|_| {
            tracing::warn!(job.id = %self.name.display(), line, "invalid event from trainer");
            Event::Alive
        })
    }

    /// A trainer that has ended does not read it; its end is noticed elsewhere.
    async fn send(&mut self, command: Command) {
        let _ = self.stdin.write_all(format!("{}\n", command.as_str()).as_bytes()).await;
        let _ = self.stdin.flush().await;
    }
}

/// Describes how a process ended that reported no reason.
#[must_use]
pub fn exit_error(status: ExitStatus) -> JobError {
    let how = match std::os::unix::process::ExitStatusExt::signal(&status) {
        Some(9) => "was killed (signal 9), usually because memory ran out; try a smaller batch_size and see the job log".to_owned(),
        Some(6) => "aborted (signal 6), possibly because memory ran out; try a smaller batch_size and see the job log".to_owned(),
        Some(signal) => format!("was terminated by signal {signal}; see the job log"),
        None => format!("exited with {status} and no error message; see the job log"),
    };
    JobError { code: "trainer_killed".to_owned(), detail: format!("the trainer {how}") }
}
