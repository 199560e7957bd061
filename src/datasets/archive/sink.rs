//! Receives the entries of an archive from the reader of its format.

use std::{
    io::{self, Read},
    path::Path,
};

use tokio::{runtime::Handle, sync::mpsc};

use super::{ArchiveError, ReadError, meter::Meter};
use crate::datasets::{
    Datasets, Limits,
    ingest::Content,
    layout::{Assignment, AssignmentRule, Layout, PathDecision},
    paths,
    report::Rejection,
};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// An entry that is not read: a link, a device, an encrypted file.
    Unread(Rejection),
}

impl From<Rejection> for Kind {
    fn from(rejection: Rejection) -> Self {
        Self::Unread(rejection)
    }
}

/// The decision on an entry.
pub(super) enum EntryOutcome {
    Accept(Assignment, Content),
    /// It would be accepted, and is not read.
    Found(Assignment),
    Reject(Rejection),
    Ignore,
}

/// Takes entries.
pub(super) struct Sink {
    datasets: Datasets,
    layout: Layout,
    rule: AssignmentRule,
    /// Whether files are only named.
    names_only: bool,
    /// Counts unpacked bytes.
    meter: Meter,
    entries: mpsc::Sender<(String, EntryOutcome)>,
    seen: u64,
}

impl Sink {
    pub(super) fn new(
        datasets: Datasets,
        layout: Layout,
        rule: AssignmentRule,
        names_only: bool,
        meter: Meter,
        entries: mpsc::Sender<(String, EntryOutcome)>,
    ) -> Self {
        Self { datasets, layout, rule, names_only, meter, entries, seen: 0 }
    }

    pub(super) fn limits(&self) -> &Limits {
        self.datasets.limits()
    }

    /// The folder of temporary files.
    pub(super) fn tmp(&self) -> &Path {
        self.datasets.blobs().tmp()
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Counts an entry, and returns its name and place. `None` if it need not be read.
    pub(super) fn admit(
        &mut self,
        path: &str,
        kind: Kind,
        size: u64,
    ) -> Result<Option<(String, Assignment)>, ReadError> {
        self.seen += 1;
        let max = self.limits().max_archive_entries;
        if self.seen > max {
            return Err(ArchiveError::TooManyEntries { max }.into());
        }
        if kind == Kind::Folder {
            return Ok(None);
        }
        let max = self.limits().max_image_bytes;
        let outcome = match (kind, self.layout.assign(path, &self.rule)) {
            (_, PathDecision::Ignore) => EntryOutcome::Ignore,
            (_, PathDecision::Reject(Rejection::UnsafePath)) => {
                EntryOutcome::Reject(Rejection::UnsafePath)
            }
            (Kind::Unread(rejection), _) | (_, PathDecision::Reject(rejection)) => {
                EntryOutcome::Reject(rejection)
            }
            _ if size > max => EntryOutcome::Reject(Rejection::TooLarge { max }),
            (_, PathDecision::Accept(assignment)) if self.names_only => {
                EntryOutcome::Found(assignment)
            }
            (_, PathDecision::Accept(assignment)) => {
                return Ok(Some((paths::display_path(path), assignment)));
            }
        };
        self.send(paths::display_path(path), outcome)?;
        Ok(None)
    }

    /// Reads a file of at most `size` bytes and sends it on. The error is that of its bytes.
    pub(super) fn read_file(
        &mut self,
        name: String,
        assignment: Assignment,
        size: u64,
        body: impl Read,
    ) -> Result<io::Result<()>, ReadError> {
        let memory = Handle::current()
            .block_on(self.datasets.throttle().memory(size))
            .map_err(|_| ReadError::Abandoned)?;
        let mut bytes = Vec::new();
        // One byte more than declared shows that the header is wrong.
        let read = body.take(size + 1).read_to_end(&mut bytes);
        if self.meter.is_exhausted() {
            return Err(ArchiveError::Unpacked { max: self.meter.limit() }.into());
        }
        if let Err(error) = read {
            return Ok(Err(error));
        }
        if bytes.len() as u64 > size {
            return Ok(Err(io::Error::other("longer than its header says")));
        }
        self.send(name, EntryOutcome::Accept(assignment, Content::Memory(bytes, memory)))?;
        Ok(Ok(()))
    }

    pub(super) fn reject(&mut self, name: String, rejection: Rejection) -> Result<(), ReadError> {
        self.send(name, EntryOutcome::Reject(rejection))
    }

    fn send(&mut self, name: String, outcome: EntryOutcome) -> Result<(), ReadError> {
        self.entries.blocking_send((name, outcome)).map_err(|_| ReadError::Abandoned)
    }
}
