//! Sends files to the server: checkpoints while the job trains, and its results.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::{
    io::AsyncReadExt as _,
    sync::Mutex,
    task::{AbortHandle, spawn_blocking},
    time::{Instant, sleep, sleep_until},
};

use super::connection::Connection;
use crate::{
    executors::{
        protocol::{FileEntry, PART},
        upload::hash,
    },
    weights::checkpoint,
};

/// How often new checkpoints are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// The pause after a checkpoint: this long, and this many times as long as sending it took. So
/// checkpoints use a fifth of the network at most.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_FACTOR: u32 = 4;
/// How often a file is sent that arrives damaged.
const TRIES: usize = 3;
/// Folder of files that are being sent, in the job's folder: links, which the trainer can't remove.
const OUTGOING: &str = "outgoing";

/// The files of one job.
#[derive(Debug)]
pub(super) struct Uploads {
    sender: Arc<Sender>,
    background: AbortHandle,
}

#[derive(Debug)]
struct Sender {
    connection: Connection,
    folder: PathBuf,
    /// Checkpoints that the server has. Held while a file is sent: one at a time.
    sent: Mutex<HashSet<String>>,
}

impl Drop for Uploads {
    fn drop(&mut self) {
        self.background.abort();
    }
}

impl Uploads {
    /// Those of the job in `folder`; the server has `known`. Sends checkpoints in the background.
    pub(super) fn new(connection: Connection, folder: PathBuf, known: &[FileEntry]) -> Self {
        let sent = known.iter().map(|file| file.name.clone()).collect();
        let sender = Arc::new(Sender { connection, folder, sent: Mutex::new(sent) });
        let background = tokio::spawn(Arc::clone(&sender).checkpoints()).abort_handle();
        Self { sender, background }
    }

    /// Sends the file of that name in the job's folder.
    pub(super) async fn file(&self, name: &str) -> anyhow::Result<()> {
        let _one_at_a_time = self.sender.sent.lock().await;
        self.sender.send(name).await
    }

    /// Sends the newest checkpoints, if the server doesn't have them.
    pub(super) async fn newest_checkpoints(&self) -> anyhow::Result<()> {
        self.sender.newest_checkpoints().await.map(drop)
    }
}

impl Sender {
    /// Sends checkpoints, as far apart as they are large.
    async fn checkpoints(self: Arc<Self>) {
        loop {
            let begun = Instant::now();
            match self.newest_checkpoints().await {
                Ok(true) => sleep_until(begun + begun.elapsed() * (1 + PAUSE_FACTOR) + PAUSE).await,
                Ok(false) => sleep(LOOK).await,
                Err(error) => {
                    // The trainer's own report, or the end of the attempt, says more.
                    tracing::warn!("can't send a checkpoint: {error:#}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Sends the newest checkpoints; whether there was a new one.
    async fn newest_checkpoints(&self) -> anyhow::Result<bool> {
        let mut sent = self.sent.lock().await;
        let mut any = false;
        for folder in checkpoint::FOLDERS {
            let Some(name) = self.newest(folder)? else { continue };
            if !sent.contains(&name) {
                self.send(&name).await?;
                sent.insert(name);
                any = true;
            }
        }
        Ok(any)
    }

    fn newest(&self, folder: &str) -> io::Result<Option<String>> {
        let found = match checkpoint::newest_first(&self.folder.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let name = found.first().and_then(|path| path.file_name()?.to_str());
        Ok(name.map(|name| format!("{folder}/{name}")))
    }

    async fn send(&self, name: &str) -> anyhow::Result<()> {
        let outgoing = self.folder.join(OUTGOING);
        fs::create_dir_all(&outgoing)?;
        let link = outgoing.join(name.replace('/', "-"));
        remove(&link)?;
        match fs::hard_link(self.folder.join(name), &link) {
            // The trainer has a newer one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            linked => linked.with_context(|| format!("can't link {name}"))?,
        }
        let sent = self.send_file(name, &link).await;
        remove(&link)?;
        sent
    }

    async fn send_file(&self, name: &str, path: &Path) -> anyhow::Result<()> {
        for _ in 0..TRIES {
            let of = path.to_owned();
            let sha256 = spawn_blocking(move || hash(&of)).await??;
            let mut file = tokio::fs::File::open(path).await?;
            let mut offset = 0;
            loop {
                let mut part = Vec::with_capacity(PART);
                (&mut file).take(PART as u64).read_to_end(&mut part).await?;
                let expected = offset + part.len() as u64;
                // An empty file is one empty part.
                if !part.is_empty() || offset == 0 {
                    let is_last = part.is_empty();
                    offset = self.connection.part(name, offset, Bytes::from(part)).await?;
                    if !is_last && offset == expected {
                        continue;
                    }
                }
                break;
            }
            if self.connection.complete(name, sha256).await? {
                return Ok(());
            }
            tracing::warn!(name, "a file arrived damaged; sending it again");
        }
        bail!("{name} arrived damaged {TRIES} times")
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
