//! Archives of photos: zip, tar and tar.gz, told apart by content.
//!
//! The body was spooled to a temporary file before this room is called. One blocking thread then
//! reads it entry by entry and hands the images over a bounded channel to the checks, so that an
//! archive of any size costs a few tens of megabytes of memory: an entry is read only when there
//! is room for it, and never beyond what an image may have. Sizes that headers claim serve to
//! turn entries away, never to trust them: bytes are counted as they come out.

mod meter;
mod tar;
mod zip;

use std::{
    fs::File,
    io::{self, Read},
};

use flate2::read::MultiGzDecoder;
use tempfile::TempPath;
use tokio::{runtime::Handle, sync::mpsc};

use self::meter::Meter;
use super::{
    Datasets, Error, Limits,
    ingest::{Content, Ingest, Place, Placing},
    naming,
    report::{Rejection, Report},
};
use crate::domain::dataset::{Classes, Split};

/// Why an archive was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is none.
    #[error("this is {0}; send a zip, tar or tar.gz archive")]
    NotAnArchive(&'static str),
    /// It has more entries than an archive may have.
    #[error("the archive has more than {max} entries")]
    TooManyEntries {
        /// The limit.
        max: u64,
    },
    /// It unpacks to more than an archive may unpack to.
    #[error("the archive unpacks to more than {max} bytes")]
    Unpacked {
        /// The limit.
        max: u64,
    },
    /// It is cut off or damaged.
    #[error("the archive is cut off or damaged: {0}")]
    Damaged(String),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Link,
    Encrypted,
}

/// Why the reading of an archive stops early.
enum Stop {
    Archive(ArchiveError),
    /// Nobody waits for its entries any more.
    Abandoned,
    Disk(io::Error),
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// An entry on its way to its check.
type Entry = (String, Result<(Place, Content), Rejection>);

impl Datasets {
    /// Enters the images of the archive in `file` into a dataset. Without a `split`, the path of
    /// an entry decides, or else its content.
    ///
    /// # Errors
    /// [`Error::Archive`] where the archive could not be read to its end, with what became of
    /// the entries before it; those stay, and sending them again is harmless.
    pub async fn import(
        &self,
        dataset: &str,
        split: Option<Split>,
        file: TempPath,
    ) -> Result<Report, Error> {
        let (id, classes) = self.resolve(dataset).await?;
        let mut ingest = Ingest::new(self.clone(), id, classes.clone(), true);
        let (entries, mut received) = mpsc::channel(self.limits().workers);
        let datasets = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let meter = Meter::new(datasets.limits().max_unpacked_bytes);
            let placing = Placing { split, label: None };
            read(&file, Sink { datasets, classes, placing, meter, entries, seen: 0 })
        });
        while let Some((name, entry)) = received.recv().await {
            match entry {
                Ok((place, content)) => ingest.add(name, place, content).await?,
                Err(rejection) => ingest.reject(name, rejection).await?,
            }
        }
        let stop = reading.await.map_err(|_| Error::WorkerDied)?;
        let report = ingest.finish().await?;
        match stop {
            Ok(()) => Ok(report),
            Err(Stop::Archive(error)) => Err(Error::Archive { error, report: Box::new(report) }),
            Err(Stop::Disk(source)) => Err(Error::disk(self.blobs().tmp(), source)),
            Err(Stop::Abandoned) => Err(Error::ShuttingDown),
        }
    }
}

/// How an archive is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// zip.
    Zip,
    /// tar.
    Tar,
    /// tar, compressed with gzip.
    TarGz,
}

/// Bytes of an archive's head that tell what it is.
pub const HEAD: usize = 1 << 16;

/// The format of the archive that begins with `head`: its first [`HEAD`] bytes, or all of it.
///
/// # Errors
/// It is no archive, or a damaged one.
pub fn recognise(head: &[u8]) -> Result<Format, ArchiveError> {
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Ok(Format::Zip);
    }
    if tar::is_header(head) {
        return Ok(Format::Tar);
    }
    if !head.starts_with(b"\x1F\x8B") {
        return Err(ArchiveError::NotAnArchive(name_of_other(head)));
    }
    let mut inner = Vec::with_capacity(512);
    let read = MultiGzDecoder::new(head).take(512).read_to_end(&mut inner);
    match read {
        _ if tar::is_header(&inner) => Ok(Format::TarGz),
        Err(error) => Err(ArchiveError::Damaged(error.to_string())),
        Ok(_) => Err(ArchiveError::NotAnArchive("gzip without a tar in it")),
    }
}

fn name_of_other(head: &[u8]) -> &'static str {
    const MAGIC: [(&[u8], &str); 7] = [
        (b"Rar!", "a RAR archive"),
        (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
        (b"BZh", "bzip2"),
        (b"\xFD7zXZ", "xz"),
        (b"\x28\xB5\x2F\xFD", "zstd"),
        (b"\xFF\xD8\xFF", "a JPEG image"),
        (b"\x89PNG", "a PNG image"),
    ];
    if head.is_empty() {
        return "an empty body";
    }
    let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    known.map_or("no archive that is known here", |(_, name)| name)
}

fn read(path: &TempPath, mut sink: Sink) -> Result<(), Stop> {
    let open = || File::open(path).map_err(Stop::Disk);
    let mut head = Vec::new();
    open()?.take(HEAD as u64).read_to_end(&mut head).map_err(Stop::Disk)?;
    match recognise(&head)? {
        Format::Zip => zip::read(open()?, open()?, &mut sink),
        Format::Tar => tar::read(io::BufReader::with_capacity(1 << 16, open()?), &mut sink),
        Format::TarGz => {
            let file = io::BufReader::with_capacity(1 << 16, open()?);
            tar::read(MultiGzDecoder::new(file), &mut sink)
        }
    }
}

/// Takes the entries of an archive, as its format's reader finds them.
struct Sink {
    datasets: Datasets,
    classes: Classes,
    placing: Placing,
    /// Counts what is unpacked.
    meter: Meter,
    entries: mpsc::Sender<Entry>,
    seen: u64,
}

impl Sink {
    fn limits(&self) -> &Limits {
        self.datasets.limits()
    }

    /// Counts an entry, and says under what name and to what place it goes. `None` where nothing
    /// of it needs to be read.
    fn meet(&mut self, path: &str, kind: Kind, size: u64) -> Result<Option<(String, Place)>, Stop> {
        self.seen += 1;
        let max = self.limits().max_archive_entries;
        if self.seen > max {
            return Err(ArchiveError::TooManyEntries { max }.into());
        }
        if kind == Kind::Folder || naming::is_noise(path) && !naming::is_unsafe(path) {
            return Ok(None);
        }
        let max = self.limits().max_image_bytes;
        let placed = self.placing.of(path, &self.classes);
        let rejection = match (kind, placed) {
            (Kind::Link, _) => Rejection::Link,
            (_, Err(Rejection::UnsafePath)) => Rejection::UnsafePath,
            (Kind::Encrypted, _) => Rejection::Encrypted,
            (_, Err(rejection)) => rejection,
            _ if size > max => Rejection::TooLarge { max },
            (_, Ok(place)) => return Ok(Some((naming::shown(path), place))),
        };
        self.send(naming::shown(path), Err(rejection))?;
        Ok(None)
    }

    /// Reads a file of at most `size` bytes and sends it on. The error is that of its bytes.
    fn take(
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
        // One byte more than there should be shows that a header lied.
        let read = body.take(size + 1).read_to_end(&mut bytes);
        if self.meter.is_exhausted() {
            return Err(ArchiveError::Unpacked { max: self.limits().max_unpacked_bytes }.into());
        }
        if let Err(error) = read {
            return Ok(Err(error));
        }
        if bytes.len() as u64 > size {
            return Ok(Err(io::Error::other("it is longer than it claims to be")));
        }
        self.send(name, Ok((place, Content::Memory(bytes, memory))))?;
        Ok(Ok(()))
    }

    fn reject(&mut self, name: String, rejection: Rejection) -> Result<(), Stop> {
        self.send(name, Err(rejection))
    }

    fn send(
        &mut self,
        name: String,
        entry: Result<(Place, Content), Rejection>,
    ) -> Result<(), Stop> {
        self.entries.blocking_send((name, entry)).map_err(|_| Stop::Abandoned)
    }
}
