//! Receives the entries of an archive from the reader of its format.

use std::{
    io::{self, Read},
    path::Path,
};

use tokio::{runtime::Handle, sync::mpsc};

use super::{ArchiveError, Stop, meter::Meter};
use crate::datasets::{
    Datasets, Limits,
    ingest::Content,
    layout::{Assignment, Layout, Place, Placing},
    naming,
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
pub(super) enum Met {
    Take(Place, Content),
    Reject(Rejection),
    Ignore,
}

/// Takes entries.
pub(super) struct Sink {
    datasets: Datasets,
    layout: Layout,
    placing: Placing,
    /// Counts unpacked bytes.
    meter: Meter,
    entries: mpsc::Sender<(String, Met)>,
    seen: u64,
}

impl Sink {
    pub(super) fn new(
        datasets: Datasets,
        layout: Layout,
        placing: Placing,
        entries: mpsc::Sender<(String, Met)>,
    ) -> Self {
        let meter = Meter::new(datasets.limits().max_unpacked_bytes);
        Self { datasets, layout, placing, meter, entries, seen: 0 }
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
    pub(super) fn meet(
        &mut self,
        path: &str,
        kind: Kind,
        size: u64,
    ) -> Result<Option<(String, Place)>, Stop> {
        self.seen += 1;
        let max = self.limits().max_archive_entries;
        if self.seen > max {
            return Err(ArchiveError::TooManyEntries { max }.into());
        }
        if kind == Kind::Folder {
            return Ok(None);
        }
        let max = self.limits().max_image_bytes;
        let met = match (kind, self.layout.assign(path, self.placing)) {
            (_, Assignment::Ignore) => Met::Ignore,
            (_, Assignment::Reject(Rejection::UnsafePath)) => Met::Reject(Rejection::UnsafePath),
            (Kind::Unread(rejection), _) | (_, Assignment::Reject(rejection)) => {
                Met::Reject(rejection)
            }
            _ if size > max => Met::Reject(Rejection::TooLarge { max }),
            (_, Assignment::Place(place)) => return Ok(Some((naming::shown(path), place))),
        };
        self.send(naming::shown(path), met)?;
        Ok(None)
    }

    /// Reads a file of at most `size` bytes and sends it on. The error is that of its bytes.
    pub(super) fn take(
        &mut self,
        name: String,
        place: Place,
        size: u64,
        body: impl Read,
    ) -> Result<io::Result<()>, Stop> {
        let memory = Handle::current()
            .block_on(self.datasets.throttle().memory(size))
            .map_err(|_| Stop::Abandoned)?;
        let mut bytes = Vec::new();
        // One byte more than declared shows that the header is wrong.
        let read = body.take(size + 1).read_to_end(&mut bytes);
        if self.meter.is_exhausted() {
            return Err(ArchiveError::Unpacked { max: self.limits().max_unpacked_bytes }.into());
        }
        if let Err(error) = read {
            return Ok(Err(error));
        }
        if bytes.len() as u64 > size {
            return Ok(Err(io::Error::other("longer than its header says")));
        }
        self.send(name, Met::Take(place, Content::Memory(bytes, memory)))?;
        Ok(Ok(()))
    }

    pub(super) fn reject(&mut self, name: String, rejection: Rejection) -> Result<(), Stop> {
        self.send(name, Met::Reject(rejection))
    }

    fn send(&mut self, name: String, met: Met) -> Result<(), Stop> {
        self.entries.blocking_send((name, met)).map_err(|_| Stop::Abandoned)
    }
}
