//! The server's side of trainers on other machines: who they are, what they have reported, and what
//! they are told. Called by `http::trainers`; the runs themselves are watched by `watch`.

use std::{
    collections::{HashMap, HashSet},
    fs::OpenOptions,
    io::{self, Write as _},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{TryRng as _, rngs::SysRng};
use subtle::ConstantTimeEq as _;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Receipt, Report,
    local::LOG,
    protocol::{Acknowledgement, Hello, LogPart, Reports},
};
use crate::{
    data_dir::DataDir,
    domain::{AttemptId, JobId, ModelId, dataset::Digest},
    storage::{self, Storage, attempts, job_events},
    training::{control::Command, events::Event, spec},
};

/// Maximum characters of a host name.
const MAX_NODE: usize = 255;

/// Why a trainer's request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such attempt at that job.
    #[error("there is no such attempt at this job")]
    Unknown,
    /// Another process has introduced itself for the attempt.
    #[error("another process trains for this attempt")]
    Replaced,
    /// The token is not that of the attempt.
    #[error("invalid attempt token")]
    Token,
    /// The attempt has ended: cancelled, replaced by another, or finished.
    #[error("this attempt has ended")]
    Ended,
    /// The server can't take reports at the moment.
    #[error("the server can't take reports at the moment; retry")]
    NotReady,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The job's folder can't be read or written.
    #[error("can't access the job folder")]
    Io(#[from] io::Error),
}

/// What is known of a trainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contact {
    /// Nothing.
    None,
    /// It has introduced itself.
    Greeted,
    /// It has reported how it ended.
    Finished,
}

/// An attempt whose trainer may report.
#[derive(Debug)]
pub struct Live {
    /// Its id.
    pub id: AttemptId,
    /// The job.
    pub job: JobId,
    /// The model that it evaluates on the images of the job, if it doesn't train.
    pub compared: Option<ModelId>,
    token_sha256: Digest,
    command: watch::Sender<Option<Command>>,
    contact: watch::Sender<Contact>,
    /// The process that reports for it; 0 as long as none is known.
    session: AtomicU64,
    /// When it was heard of last.
    heard: Mutex<Instant>,
    /// The images of its job, once one of them was fetched.
    images: tokio::sync::OnceCell<HashSet<Digest>>,
    /// Held while requests of the trainer change something: one at a time, in order.
    inbox: tokio::sync::Mutex<Inbox>,
}

/// What was received of a trainer.
#[derive(Debug)]
struct Inbox {
    /// Where reports go; `None` once nothing more is taken.
    reports: Option<mpsc::Sender<Report>>,
    next_sequence: u64,
    log_bytes: u64,
}

impl Inbox {
    /// Reports for the trainer that it is alive.
    fn is_alive(&self) {
        if let Some(reports) = &self.reports {
            // Full: there is a report already.
            let _ = reports.try_send(Event::Alive.into());
        }
    }
}

impl Live {
    pub(super) fn new(attempt: &attempts::Attempt, reports: mpsc::Sender<Report>) -> Self {
        let contact = if attempt.node.is_some() { Contact::Greeted } else { Contact::None };
        Self {
            id: attempt.id,
            job: attempt.job,
            compared: attempt.compared,
            token_sha256: attempt.token_sha256,
            command: watch::channel(None).0,
            contact: watch::channel(contact).0,
            session: AtomicU64::new(0),
            heard: Mutex::new(Instant::now()),
            images: tokio::sync::OnceCell::new(),
            inbox: tokio::sync::Mutex::new(Inbox {
                reports: Some(reports),
                next_sequence: attempt.next_sequence,
                log_bytes: attempt.log_bytes,
            }),
        }
    }

    /// Tells the trainer, with the next response to it; a stronger earlier command is kept.
    pub(super) fn send(&self, command: Command) {
        self.command.send_modify(|last| {
            *last = Some(last.map_or(command, |last| last.max(command)));
        });
    }

    pub(super) fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.subscribe()
    }

    /// How long nothing was heard of the trainer.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Takes nothing more: when this returns, no request of the trainer changes anything.
    pub(super) async fn close(&self) {
        self.inbox.lock().await.reports = None;
    }

    /// Whether a request comes from the process that reports for this attempt: the last one that has
    /// introduced itself. After a restart of the server, that is whoever reports first.
    #[must_use]
    pub fn is_of_session(&self, session: u64) -> bool {
        match self.session.compare_exchange(0, session, Relaxed, Relaxed) {
            Ok(_) => true,
            Err(known) => known == session,
        }
    }

    fn reached(&self, contact: Contact) {
        self.contact.send_modify(|last| *last = contact.max(*last));
    }

    async fn open_inbox(&self) -> Result<tokio::sync::MutexGuard<'_, Inbox>, Refusal> {
        let inbox = self.inbox.lock().await;
        // Whether the attempt has ended is in the database: the trainer learns it when it retries.
        if inbox.reports.is_some() { Ok(inbox) } else { Err(Refusal::NotReady) }
    }
}

/// All attempts.
#[derive(Debug, Clone)]
pub struct Attempts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    data_dir: Arc<DataDir>,
    live: Mutex<HashMap<AttemptId, Arc<Live>>>,
}

/// Removes an attempt from those that may report when it is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    attempts: Attempts,
    id: AttemptId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.attempts.live().remove(&self.id);
    }
}

impl Attempts {
    /// Those in this database, of jobs in this directory.
    #[must_use]
    pub fn new(storage: Storage, data_dir: Arc<DataDir>) -> Self {
        Self(Arc::new(Inner { storage, data_dir, live: Mutex::default() }))
    }

    pub(super) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub(super) fn register(&self, live: &Arc<Live>) -> Registration {
        self.live().insert(live.id, Arc::clone(live));
        Registration { attempts: self.clone(), id: live.id }
    }

    /// The attempt at that job whose trainer sends a request with that token.
    ///
    /// # Errors
    /// It may not, or not at the moment.
    pub async fn authenticate(
        &self,
        job: JobId,
        id: AttemptId,
        token: &str,
    ) -> Result<Arc<Live>, Refusal> {
        let presented = Digest::of(token.as_bytes());
        let is_token = |stored: &Digest| bool::from(presented.0.ct_eq(&stored.0));
        let live = self.live().get(&id).cloned();
        if let Some(live) = live {
            return match is_token(&live.token_sha256) {
                true if live.job == job => {
                    *live.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    Ok(live)
                }
                true => Err(Refusal::Unknown),
                false => Err(Refusal::Token),
            };
        }
        let mut connection = self.0.storage.read().await?;
        match attempts::get(&mut connection, id).await? {
            Some(attempt) if attempt.job != job => Err(Refusal::Unknown),
            None => Err(Refusal::Unknown),
            Some(attempt) if !is_token(&attempt.token_sha256) => Err(Refusal::Token),
            Some(attempt) if attempt.ended => Err(Refusal::Ended),
            Some(_) => Err(Refusal::NotReady),
        }
    }

    /// Notes that a trainer is there, and where; returns the number of its next event, and its session.
    /// Another process that has introduced itself for the same attempt is refused from now on.
    ///
    /// # Errors
    /// The attempt takes nothing more, the database failed, or the log can't be written.
    pub async fn greet(&self, live: &Live, hello: &Hello) -> Result<(u64, u64), Refusal> {
        let mut inbox = live.open_inbox().await?;
        let mut transaction = self.0.storage.write().await?;
        let node: String = hello.node.chars().take(MAX_NODE).collect();
        attempts::runs_on(&mut transaction, live.id, &node).await?;
        // A trainer has one log: what was there before was that of another process.
        attempts::logged(&mut transaction, live.id, 0).await?;
        job_events::current_status(&mut transaction, live.job).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        inbox.log_bytes = 0;
        let line = format!("--- attempt {} on {} ---\n", live.id, node);
        self.append_log(live.job, line).await?;
        let mut session = [0; 4];
        SysRng.try_fill_bytes(&mut session).map_err(io::Error::other)?;
        let session = u64::from(u32::from_le_bytes(session)) + 1;
        live.session.store(session, Relaxed);
        live.reached(Contact::Greeted);
        inbox.is_alive();
        Ok((inbox.next_sequence, session))
    }

    /// Takes reports; when this returns, they are saved. Without events, the trainer is alive.
    ///
    /// # Errors
    /// They could not be saved: the trainer must send them again.
    pub async fn receive(&self, live: &Live, reports: Reports) -> Result<Acknowledgement, Refusal> {
        let mut inbox = live.open_inbox().await?;
        inbox.is_alive();
        for numbered in reports.events {
            if numbered.sequence < inbox.next_sequence {
                continue;
            }
            let is_last = numbered.event.is_last();
            let (saved, confirmed) = oneshot::channel();
            let receipt = Receipt { attempt: live.id, sequence: numbered.sequence, saved };
            let report = Report { event: numbered.event, receipt: Some(receipt) };
            let sender = inbox.reports.as_ref().ok_or(Refusal::NotReady)?;
            sender.send(report).await.map_err(|_| Refusal::NotReady)?;
            confirmed.await.map_err(|_| Refusal::NotReady)?;
            inbox.next_sequence = numbered.sequence.saturating_add(1);
            if is_last {
                live.reached(Contact::Finished);
            }
        }
        if let Some(LogPart { offset, text }) = reports.log
            && let Some(known) = inbox.log_bytes.checked_sub(offset)
            && let Some(new) = usize::try_from(known).ok().and_then(|known| text.get(known..))
            && !new.is_empty()
        {
            let bytes = inbox.log_bytes + new.len() as u64;
            self.append_log(live.job, new.to_owned()).await?;
            inbox.log_bytes = bytes;
            let mut transaction = self.0.storage.write().await?;
            attempts::logged(&mut transaction, live.id, bytes).await?;
            transaction.commit().await.map_err(storage::Error::from)?;
        }
        Ok(Acknowledgement {
            next_sequence: inbox.next_sequence,
            log_bytes: inbox.log_bytes,
            command: *live.command.borrow(),
        })
    }

    /// Whether the trainer's job has that image.
    ///
    /// # Errors
    /// The job's manifest can't be read.
    pub async fn needs(&self, live: &Live, digest: &Digest) -> Result<bool, Refusal> {
        let images = live.images.get_or_try_init(|| async {
            let folder = self.folder(live);
            let read = tokio::task::spawn_blocking(move || spec::read_manifest(&folder));
            let samples = read.await.map_err(io::Error::other)??;
            Ok::<_, io::Error>(samples.into_iter().map(|sample| sample.sha256).collect())
        });
        Ok(images.await?.contains(digest))
    }

    /// Runs `work` while no other request of the trainer changes anything.
    ///
    /// # Errors
    /// The attempt takes nothing more.
    pub async fn exclusively<T>(
        &self,
        live: &Live,
        work: impl Future<Output = T>,
    ) -> Result<T, Refusal> {
        let inbox = live.open_inbox().await?;
        inbox.is_alive();
        Ok(work.await)
    }

    /// Whether the trainer of another job than `job` reports: then its place may become free.
    pub(super) fn others_run(&self, job: JobId) -> bool {
        let live = self.live();
        live.values().any(|it| it.job != job && *it.contact.borrow() == Contact::Greeted)
    }

    /// The folder of the job.
    #[must_use]
    pub fn folder(&self, live: &Live) -> PathBuf {
        self.0.data_dir.job(live.job)
    }

    /// The file of the model that the attempt evaluates.
    #[must_use]
    pub fn compared(&self, live: &Live) -> Option<PathBuf> {
        live.compared.map(|model| self.0.data_dir.model(model))
    }

    async fn append_log(&self, job: JobId, text: String) -> io::Result<()> {
        let path = self.0.data_dir.job(job).join(LOG);
        let append = move || {
            let mut log = OpenOptions::new().create(true).append(true).open(path)?;
            log.write_all(text.as_bytes())?;
            log.sync_data()
        };
        tokio::task::spawn_blocking(append).await.map_err(io::Error::other)?
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<AttemptId, Arc<Live>>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
