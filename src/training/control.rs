//! Commands of the server to a running trainer, over its standard input.
//!
//! One thread reads commands, one per line; the learner checks for them once per batch. When the
//! input ends, the server is gone: the trainer exits at once, and its last checkpoint is complete.
//! SIGTERM, which a cluster sends to all processes of a job, suspends: the server starts another trainer.

use std::{
    io::{self, BufRead as _},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::failure::StopReason;

/// A command of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Command {
    /// End training and keep the best epoch.
    Stop = 1,
    /// Save a checkpoint and exit; the job will be resumed later.
    Suspend = 2,
    /// End.
    Cancel = 3,
}

impl Command {
    /// The command as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Suspend => "suspend",
            Self::Cancel => "cancel",
        }
    }
}

impl FromStr for Command {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Stop, Self::Suspend, Self::Cancel]
            .into_iter()
            .find(|command| command.as_str() == text)
            .ok_or(())
    }
}

/// The strongest command received.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<AtomicU8>);

impl Control {
    /// Listens on standard input, on a thread of its own.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn listen() -> io::Result<Self> {
        let control = Self::default();
        control.suspend_on_sigterm()?;
        let listener = control.clone();
        thread::Builder::new().name("control".to_owned()).spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                match line.parse() {
                    Ok(command) => listener.send(command),
                    Err(()) => tracing::warn!(line, "unknown command"),
                }
            }
            tracing::error!("lost the server; exiting");
            // No destructors: libtorch's may wait for work that is no longer needed.
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        })?;
        Ok(control)
    }

    fn suspend_on_sigterm(&self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut terminated = {
            let _context = runtime.enter();
            signal(SignalKind::terminate())?
        };
        let control = self.clone();
        let wait = move || {
            if runtime.block_on(terminated.recv()).is_some() {
                control.send(Command::Suspend);
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
    }

    /// Sends a command; a stronger earlier one is kept.
    pub fn send(&self, command: Command) {
        self.0.fetch_max(command as u8, Ordering::Relaxed);
    }

    /// Returns an error if the caller must stop.
    ///
    /// # Errors
    /// [`StopReason::Stopped`], [`StopReason::Suspended`] or [`StopReason::Cancelled`], the strongest that was received.
    pub fn check(&self) -> Result<(), StopReason> {
        match self.0.load(Ordering::Relaxed) {
            word if word == Command::Cancel as u8 => Err(StopReason::Cancelled),
            word if word == Command::Suspend as u8 => Err(StopReason::Suspended),
            word if word == Command::Stop as u8 => Err(StopReason::Stopped),
            _ => Ok(()),
        }
    }

    /// As [`Control::check`], for work that a stopped job still needs.
    ///
    /// # Errors
    /// [`StopReason::Suspended`] or [`StopReason::Cancelled`].
    pub fn check_unless_stopped(&self) -> Result<(), StopReason> {
        match self.check() {
            Err(StopReason::Stopped) => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_outweighs_what_came_before_and_after_it() {
        let control = Control::default();
        assert!(control.check().is_ok());
        control.send(Command::Stop);
        assert!(matches!(control.check(), Err(StopReason::Stopped)));
        assert!(control.check_unless_stopped().is_ok());
        control.send(Command::Cancel);
        control.send(Command::Suspend);
        assert!(matches!(control.check(), Err(StopReason::Cancelled)));
    }
}
