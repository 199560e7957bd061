//! Archives of images: zip, tar and tar.gz, detected by content.
//!
//! What one path means depends on the others (see [`super::layout`]), so the names are read first.
//!
//! The body is spooled to a temporary file before this module is called. One blocking thread then
//! reads it entry by entry and passes the images over a bounded channel to the checks, so that an
//! archive of any size needs a few tens of megabytes of memory: an entry is read only when there is
//! room for it, and never beyond the size limit of an image. Sizes in headers are used to reject
//! entries, but never trusted: bytes are counted as they are unpacked.

mod format;
mod gzip;
mod meter;
mod sink;
mod tar;
mod zip;

use std::{fs::File, io, io::Read as _};

use tempfile::TempPath;
use tokio::{sync::mpsc, task::JoinHandle};

pub use self::format::{Format, HEAD, recognise};
use self::{
    meter::Meter,
    sink::{EntryOutcome, Sink},
    tar::{Gzipped, Plain},
};
use super::{
    Datasets, Error,
    ingest::Ingest,
    layout::{AssignmentRule, LabelSource, Layout},
    preview::{Collector, Preview},
    report::Report,
};
use crate::domain::dataset::Split;

/// How many times larger than its file an archive may become, once it is larger than
/// [`FREE_BYTES`]: images hardly shrink, and bitmaps to a twentieth.
const MAX_RATIO: u64 = 200;

/// Bytes that an archive may become however small its file is.
const FREE_BYTES: u64 = 1 << 30;

/// Why an archive could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is not a supported archive.
    #[error("not a supported archive ({0}); upload a zip, tar or tar.gz file")]
    NotAnArchive(&'static str),
    /// It has too many entries.
    #[error("the archive has more than {max} entries")]
    TooManyEntries {
        /// The limit.
        max: u64,
    },
    /// Its unpacked size exceeds the limit.
    #[error(
        "the archive becomes more than {max} bytes when unpacked: the limit is 200 times its size, at least 1 GiB, and at most --max-unpacked-bytes"
    )]
    Unpacked {
        /// The limit.
        max: u64,
    },
    /// It is truncated or damaged.
    #[error("the archive is truncated or damaged: {0}")]
    Damaged(String),
}

/// Why the reading of an archive stops early.
enum ReadError {
    Archive(ArchiveError),
    /// Its entries are no longer needed.
    Abandoned,
    Disk(io::Error),
}

/// The entries of an archive, by name.
type Entries = mpsc::Receiver<(String, EntryOutcome)>;

/// The thread that reads an archive.
type Reading = JoinHandle<Result<(), ReadError>>;

impl From<ArchiveError> for ReadError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl Datasets {
    /// Adds the images of the archive in `file` to a dataset. Without a `split`, the path of an
    /// entry decides, otherwise its content.
    ///
    /// # Errors
    /// [`Error::Archive`] if the archive could not be read to its end, with the report of the
    /// entries before that; those are kept, and uploading them again is harmless.
    pub async fn import(
        &self,
        dataset: &str,
        split: Option<Split>,
        labels: LabelSource,
        file: TempPath,
    ) -> Result<Report, Error> {
        let row = self.row(dataset).await?;
        let layout = Layout::new(&row.classes, row.open);
        let mut ingest = Ingest::new(self.clone(), row.id, true);
        let rule = AssignmentRule { split, label: None, labels };
        let (mut received, reading) = self.read_entries(file, layout, rule, false);
        while let Some((name, outcome)) = received.recv().await {
            match outcome {
                EntryOutcome::Accept(assignment, content) => {
                    ingest.add(name, Some(assignment), content).await?
                }
                EntryOutcome::Reject(rejection) => ingest.reject(name, rejection).await?,
                EntryOutcome::Found(_) => {}
                EntryOutcome::Ignore => ingest.ignore(name).await?,
            }
        }
        let stop = reading.await.map_err(|_| Error::WorkerPanicked)?;
        let report = ingest.finish().await?;
        match stop {
            Ok(()) => Ok(report),
            Err(error) => Err(self.stopped(error, report)),
        }
    }

    /// What [`Self::import`] would do, by the names in the archive.
    ///
    /// # Errors
    /// [`Error::Archive`] if the archive can't be read to its end.
    pub async fn preview_archive(
        &self,
        dataset: &str,
        split: Option<Split>,
        labels: LabelSource,
        file: TempPath,
    ) -> Result<Preview, Error> {
        let row = self.row(dataset).await?;
        let layout = Layout::new(&row.classes, row.open);
        let rule = AssignmentRule { split, label: None, labels };
        let (mut received, reading) = self.read_entries(file, layout, rule, true);
        let mut found = Collector::default();
        while let Some((name, outcome)) = received.recv().await {
            match outcome {
                EntryOutcome::Found(assignment) => found.accept(&name, assignment),
                EntryOutcome::Reject(rejection) => found.reject(name, &rejection),
                EntryOutcome::Ignore => found.ignore(name),
                EntryOutcome::Accept(..) => {}
            }
        }
        match reading.await.map_err(|_| Error::WorkerPanicked)? {
            Ok(()) => Ok(found.finish(|name| row.classes.index_of(name).is_some())),
            Err(error) => Err(self.stopped(error, Report::default())),
        }
    }

    /// Reads the entries of an archive on a thread of its own.
    fn read_entries(
        &self,
        file: TempPath,
        layout: Layout,
        rule: AssignmentRule,
        names_only: bool,
    ) -> (Entries, Reading) {
        let (entries, received) = mpsc::channel(self.limits().workers);
        let datasets = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            read(&file, layout, &datasets, |layout, meter| {
                Sink::new(datasets.clone(), layout, rule, names_only, meter, entries)
            })
        });
        (received, reading)
    }

    fn stopped(&self, error: ReadError, report: Report) -> Error {
        match error {
            ReadError::Archive(error) => Error::Archive { error, report: Box::new(report) },
            ReadError::Disk(source) => Error::disk(self.blobs().tmp(), source),
            ReadError::Abandoned => Error::ShuttingDown,
        }
    }
}

/// Reads the archive twice: for the names of its files, which together determine what each one
/// means, and for the files.
fn read(
    path: &TempPath,
    mut layout: Layout,
    datasets: &Datasets,
    sink: impl FnOnce(Layout, Meter) -> Sink,
) -> Result<(), ReadError> {
    let open = || File::open(path).map_err(ReadError::Disk);
    let mut head = Vec::new();
    open()?.take(HEAD as u64).read_to_end(&mut head).map_err(ReadError::Disk)?;
    let format = recognise(&head)?;
    let max = datasets.limits().max_archive_entries;
    let size = path.metadata().map_err(ReadError::Disk)?.len();
    let max_unpacked = datasets.limits().max_unpacked_bytes.min(most_unpacked(size));
    let meter = || Meter::new(max_unpacked);
    match format {
        Format::Zip => {
            zip::survey(open()?, max, &mut layout);
            zip::read(open()?, open()?, &mut sink(layout, meter()))
        }
        Format::Tar => {
            let plain = || Plain::new(open()?).map_err(ReadError::Disk);
            let survey = tar::survey(plain()?, meter(), max, &mut layout);
            let mut sink = sink(layout, meter());
            let plain = sink.meter().wrap(plain()?);
            tar::read(plain, survey, &mut sink)
        }
        Format::TarGz => {
            let names = meter();
            let gzipped = Gzipped::new(open()?, &names);
            let survey = tar::survey(gzipped, names, max, &mut layout);
            let mut sink = sink(layout, meter());
            let gzipped = Gzipped::new(open()?, sink.meter());
            tar::read(gzipped, survey, &mut sink)
        }
    }
}

/// Bytes that an archive of `size` bytes may become at most.
fn most_unpacked(size: u64) -> u64 {
    size.saturating_mul(MAX_RATIO).max(FREE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_may_become_a_gigabyte_or_two_hundred_times_its_size() {
        assert_eq!(most_unpacked(45), 1 << 30);
        assert_eq!(most_unpacked(10 << 20), 2_000 << 20);
        assert_eq!(most_unpacked(u64::MAX), u64::MAX);
    }
}
