//! Sends events and the log to the server, in order and until they are acknowledged; receives its
//! commands with the responses.

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::connection::{Connection, Lost};
use crate::{
    executors::protocol::{LogPart, Numbered, Reports},
    training::{control::Command, events::Event},
};

/// Without events, the server hears from a trainer this often; commands arrive as fast.
const BEAT: Duration = Duration::from_secs(2);
/// Events of that time go together.
const GATHER: Duration = Duration::from_millis(100);
/// Maximum events of a request, and bytes of the log.
const EVENTS: usize = 200;
const LOG: u64 = 256 << 10;

/// Events on their way.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Numbered>,
    /// How many of them are being sent.
    in_flight: usize,
    next_sequence: u64,
}

impl Queue {
    fn push(&mut self, event: Event) {
        let waiting = self.events.len() > self.in_flight;
        match (&event, self.events.back_mut()) {
            // Whatever is sent says so.
            (Event::Alive, Some(_)) => return,
            // While the server is away, only the last progress counts.
            (Event::Progress(_), Some(Numbered { event: last @ Event::Progress(_), .. }))
                if waiting =>
            {
                *last = event;
                return;
            }
            _ => {}
        }
        self.events.push_back(Numbered { sequence: self.next_sequence, event });
        self.next_sequence += 1;
    }

    fn acknowledge(&mut self, next_sequence: u64) {
        while self.events.front().is_some_and(|first| first.sequence < next_sequence) {
            self.events.pop_front();
        }
        self.in_flight = 0;
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    more: Notify,
    command: watch::Sender<Option<Command>>,
    /// Whether everything is acknowledged, log included.
    idle: watch::Sender<bool>,
    lost: watch::Sender<Option<Lost>>,
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream of reports to the server.
#[derive(Debug)]
pub(super) struct Relay(Arc<Shared>);

impl Relay {
    /// Starts one in the background; `log` is the file of the log.
    pub(super) fn start(connection: Connection, log: PathBuf, next_sequence: u64) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { next_sequence, ..Queue::default() }),
            more: Notify::new(),
            command: watch::channel(None).0,
            idle: watch::channel(false).0,
            lost: watch::channel(None).0,
        });
        tokio::spawn(run(Arc::clone(&shared), connection, LogReader::new(log)));
        Self(shared)
    }

    /// Sends an event.
    pub(super) fn send(&self, event: Event) {
        let mut queue = self.0.queue();
        queue.push(event);
        self.0.idle.send_replace(false);
        drop(queue);
        self.0.more.notify_one();
    }

    /// The strongest command so far.
    pub(super) fn commands(&self) -> watch::Receiver<Option<Command>> {
        let mut commands = self.0.command.subscribe();
        // Whoever listens from now on has missed none.
        commands.mark_changed();
        commands
    }

    /// Waits until the server can't be reached any more, or ends the attempt.
    pub(super) async fn lost(&self) -> Lost {
        let mut lost = self.0.lost.subscribe();
        loop {
            if let Some(lost) = lost.borrow_and_update().clone() {
                return lost;
            }
            if lost.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until all is acknowledged.
    pub(super) async fn finish(&self) -> Result<(), Lost> {
        let mut idle = self.0.idle.subscribe();
        // The log may have grown.
        self.0.idle.send_replace(false);
        self.0.more.notify_one();
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            _ = idle.wait_for(|idle| *idle) => Ok(()),
        }
    }
}

/// The next command.
pub(super) async fn next(commands: &mut watch::Receiver<Option<Command>>) -> Command {
    loop {
        if commands.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(command) = *commands.borrow_and_update() {
            return command;
        }
    }
}

async fn run(shared: Arc<Shared>, connection: Connection, mut log: LogReader) {
    loop {
        if timeout(BEAT, shared.more.notified()).await.is_ok() {
            sleep(GATHER).await;
        }
        let events: Vec<_> = {
            let mut queue = shared.queue();
            queue.in_flight = queue.events.len().min(EVENTS);
            queue.events.iter().take(EVENTS).cloned().collect()
        };
        let part = log.part();
        let acknowledged = match connection.reports(&Reports { events, log: part }).await {
            Ok(acknowledged) => acknowledged,
            Err(lost) => {
                shared.lost.send_replace(Some(lost));
                return;
            }
        };
        log.acknowledge(acknowledged.log_bytes);
        shared.command.send_if_modified(|command| {
            let changed = *command != acknowledged.command;
            *command = acknowledged.command;
            changed
        });
        let logged = log.part().is_none();
        let mut queue = shared.queue();
        queue.acknowledge(acknowledged.next_sequence);
        if logged && queue.events.is_empty() {
            shared.idle.send_replace(true);
        } else {
            shared.more.notify_one();
        }
    }
}

/// Reads the log as it grows.
#[derive(Debug)]
struct LogReader {
    path: PathBuf,
    /// Bytes of the file that are acknowledged.
    position: u64,
    /// Bytes of text that are acknowledged: not the same where the file is not UTF-8.
    offset: u64,
    /// The part on its way, and its bytes in the file.
    pending: Option<(LogPart, u64)>,
}

impl LogReader {
    fn new(path: PathBuf) -> Self {
        Self { path, position: 0, offset: 0, pending: None }
    }

    /// The next part; the same until it is acknowledged.
    fn part(&mut self) -> Option<LogPart> {
        if self.pending.is_none() {
            let bytes = self.read().unwrap_or_default();
            // A character is not cut in two, if lines are not endless.
            let end =
                bytes.iter().rposition(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
            if end > 0 {
                let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
                self.pending = Some((LogPart { offset: self.offset, text }, end as u64));
            }
        }
        self.pending.as_ref().map(|(part, _)| part.clone())
    }

    fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        file.take(LOG).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn acknowledge(&mut self, bytes: u64) {
        if let Some((part, length)) = &self.pending
            && bytes >= part.offset + part.text.len() as u64
        {
            self.offset = part.offset + part.text.len() as u64;
            self.position += length;
            self.pending = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::{Phase, Progress};

    fn progress(step: u64) -> Event {
        let (phase, epoch, epochs, steps) = (Phase::Training, 1, 2, 9);
        Event::Progress(Progress { phase, epoch, epochs, step, steps, eta_seconds: None })
    }

    #[test]
    fn while_the_server_is_away_only_the_last_progress_waits() {
        let mut queue = Queue { next_sequence: 7, ..Queue::default() };
        queue.push(progress(1));
        queue.in_flight = 1;
        for step in 2..5 {
            queue.push(progress(step));
            queue.push(Event::Alive);
        }
        queue.push(Event::Cancelled);
        queue.push(progress(5));
        let waiting: Vec<_> =
            queue.events.iter().map(|it| (it.sequence, it.event.clone())).collect();
        let expected =
            [(7, progress(1)), (8, progress(4)), (9, Event::Cancelled), (10, progress(5))];
        assert_eq!(waiting, expected);
        queue.acknowledge(9);
        assert_eq!(queue.events.front().map(|it| it.sequence), Some(9));
    }

    #[test]
    fn the_log_is_read_as_it_grows_and_again_until_it_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.txt");
        let mut log = LogReader::new(path.clone());
        assert!(log.part().is_none());
        std::fs::write(&path, b"one\ntw\xff\n").unwrap();
        let part = log.part().unwrap();
        assert_eq!((part.offset, &*part.text), (0, "one\ntw\u{fffd}\n"));
        log.acknowledge(3);
        assert_eq!(log.part().unwrap().text, part.text);
        log.acknowledge(part.text.len() as u64);
        assert!(log.part().is_none());
        std::fs::write(&path, b"one\ntw\xff\nthree\n").unwrap();
        let next = log.part().unwrap();
        assert_eq!((next.offset, &*next.text), (part.text.len() as u64, "three\n"));
    }
}
