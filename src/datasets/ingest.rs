//! Files become images of a dataset: checked in parallel, entered in order.
//!
//! Driven by the task of one upload. Decoding and hashing happen on blocking threads, a few at a
//! time over all uploads; what passed lies in a temporary file until its batch is entered. A
//! batch is: blobs renamed into place and synced, then one transaction with their rows. So an
//! upload that breaks off before that leaves nothing behind.

use std::{collections::VecDeque, fs, sync::Arc};

use tempfile::TempPath;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

use super::{
    Datasets, Error, fingerprint,
    layout::{Assignment, Place},
    report::{Rejection, Report},
};
use crate::{
    domain::{
        DatasetId,
        dataset::{Classes, Digest, Split},
    },
    storage::{
        self,
        images::{Inserted, NewImage},
    },
    vision,
};

/// Images that are entered in one transaction.
const BATCH: usize = 500;

/// KiB of encoded images that may be in memory to be checked, over all uploads.
const MEMORY_KIB: u32 = 32 << 10;

/// What bounds the work of all uploads together.
#[derive(Debug)]
pub(super) struct Throttle {
    /// A permit for each check that may run.
    workers: Arc<Semaphore>,
    /// A permit for each KiB of [`MEMORY_KIB`].
    memory: Arc<Semaphore>,
}

impl Throttle {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers: Arc::new(Semaphore::new(workers)),
            memory: Arc::new(Semaphore::new(MEMORY_KIB as usize)),
        }
    }

    /// Waits for room for `bytes` of an image; a file larger than all the room has it to itself.
    pub(super) async fn memory(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Error> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(MEMORY_KIB);
        self.memory.clone().acquire_many_owned(kib).await.map_err(|_| Error::ShuttingDown)
    }
}

/// The bytes of a file that is to be checked.
#[derive(Debug)]
pub(super) enum Content {
    /// In memory, within the throttle's room.
    Memory(Vec<u8>, OwnedSemaphorePermit),
    /// In a temporary file of that many bytes.
    Spooled(TempPath, u64),
}

/// A file that passed its check.
#[derive(Debug)]
struct Checked {
    file: TempPath,
    image: NewImage,
}

/// What became of a file, by its name.
type Outcome = (String, Fate);

#[derive(Debug)]
enum Fate {
    Passed(Box<Checked>),
    Rejected(Rejection),
    Ignored,
}

#[derive(Debug)]
enum Waiting {
    Known(Outcome),
    Checking(JoinHandle<Result<Outcome, Error>>),
}

/// One upload under way.
#[derive(Debug)]
pub(super) struct Ingest {
    datasets: Datasets,
    dataset: DatasetId,
    classes: Classes,
    /// Whether batches are entered as they fill, not only at the end.
    eager: bool,
    waiting: VecDeque<Waiting>,
    outcomes: Vec<Outcome>,
    report: Report,
}

impl Ingest {
    pub(super) fn new(
        datasets: Datasets,
        dataset: DatasetId,
        classes: Classes,
        eager: bool,
    ) -> Self {
        Self {
            datasets,
            dataset,
            classes,
            eager,
            waiting: VecDeque::new(),
            outcomes: Vec::new(),
            report: Report::default(),
        }
    }

    /// Notes a file that was rejected unread.
    pub(super) async fn reject(&mut self, name: String, rejection: Rejection) -> Result<(), Error> {
        self.know(name, Fate::Rejected(rejection)).await
    }

    /// Notes a file that was left out.
    pub(super) async fn ignore(&mut self, name: String) -> Result<(), Error> {
        self.know(name, Fate::Ignored).await
    }

    async fn know(&mut self, name: String, fate: Fate) -> Result<(), Error> {
        self.waiting.push_back(Waiting::Known((name, fate)));
        self.settle(Self::window(&self.datasets)).await
    }

    /// Takes a file in; waits while enough of them are being checked. Without a place it needs
    /// one before it is entered: see [`Self::assign`].
    pub(super) async fn add(
        &mut self,
        name: String,
        place: Option<Place>,
        content: Content,
    ) -> Result<(), Error> {
        let throttle = self.datasets.throttle();
        let (source, room) = match content {
            Content::Memory(bytes, room) => (Source::Memory(bytes), room),
            Content::Spooled(file, bytes) => (Source::File(file), throttle.memory(bytes).await?),
        };
        let worker = throttle.workers.clone().acquire_owned().await;
        let worker = worker.map_err(|_| Error::ShuttingDown)?;
        let datasets = self.datasets.clone();
        self.waiting.push_back(Waiting::Checking(tokio::task::spawn_blocking(move || {
            let checked = check(source, place.unwrap_or_default(), &name, &datasets);
            drop((room, worker));
            checked.map(|checked| match checked {
                Ok(checked) => (name, Fate::Passed(Box::new(checked))),
                Err(rejection) => (name, Fate::Rejected(rejection)),
            })
        })));
        self.settle(Self::window(&self.datasets)).await
    }

    /// Waits for all checks, and says of each file so far, by the name it was added under, what it
    /// is to be called and where it goes. What its path says against it counts before what its
    /// content does.
    pub(super) async fn assign(
        &mut self,
        assign: impl Fn(&str) -> (String, Assignment),
    ) -> Result<(), Error> {
        self.settle(0).await?;
        for (name, fate) in &mut self.outcomes {
            let (shown, assignment) = assign(name);
            match (assignment, &mut *fate) {
                (Assignment::Place(place), Fate::Passed(checked)) => {
                    checked.image.file_name.clone_from(&shown);
                    checked.image.label = place.label;
                    checked.image.split = split_of(place, &checked.image.sha256);
                }
                (Assignment::Place(_), _) => {}
                (Assignment::Reject(rejection), _) => *fate = Fate::Rejected(rejection),
                (Assignment::Ignore, _) => *fate = Fate::Ignored,
            }
            *name = shown;
        }
        Ok(())
    }

    /// Waits for all checks, enters what passed, and says what became of everything.
    pub(super) async fn finish(mut self) -> Result<Report, Error> {
        self.settle(0).await?;
        while !self.outcomes.is_empty() {
            self.enter().await?;
        }
        Ok(self.report)
    }

    fn window(datasets: &Datasets) -> usize {
        datasets.limits().workers * 4
    }

    /// Takes finished checks in the order their files came, until at most `open` are left.
    async fn settle(&mut self, open: usize) -> Result<(), Error> {
        while self.waiting.len() > open {
            let Some(next) = self.waiting.pop_front() else { break };
            let outcome = match next {
                Waiting::Known(outcome) => outcome,
                Waiting::Checking(check) => check.await.map_err(|_| Error::WorkerDied)??,
            };
            self.outcomes.push(outcome);
            if self.eager && self.outcomes.len() >= BATCH {
                self.enter().await?;
            }
        }
        Ok(())
    }

    /// Enters the next batch.
    async fn enter(&mut self) -> Result<(), Error> {
        let batch: Vec<Outcome> = self.outcomes.drain(..self.outcomes.len().min(BATCH)).collect();
        let mut files = Vec::new();
        let mut rows = Vec::new();
        for (name, fate) in batch {
            let row = match fate {
                Fate::Passed(checked) => {
                    files.push((checked.image.sha256, checked.file));
                    Ok(checked.image)
                }
                Fate::Rejected(rejection) => Err(Some(rejection)),
                Fate::Ignored => Err(None),
            };
            rows.push((name, row));
        }
        // A sweep must not come between the blobs and their rows.
        let _gate = self.datasets.gate().read().await;
        if !files.is_empty() {
            let blobs = self.datasets.blobs().clone();
            super::blocking(move || blobs.put(files)).await?;
        }
        let (mut added, mut duplicates) = (0, 0);
        let mut refused = Vec::new();
        let mut transaction = self.datasets.storage().write().await?;
        for (name, row) in rows {
            let image = match row {
                Ok(image) => image,
                Err(rejection) => {
                    refused.push((name, rejection));
                    continue;
                }
            };
            match storage::images::insert(&mut transaction, self.dataset, &image).await? {
                Inserted::New => added += 1,
                Inserted::Known { label } if label == image.label => duplicates += 1,
                Inserted::Known { label } => match self.classes.name(label) {
                    Some(label) => {
                        let conflict = Rejection::LabelConflict { label: label.clone() };
                        refused.push((name, Some(conflict)));
                    }
                    None => return Err(Error::GoneDataset),
                },
                Inserted::NoDataset => return Err(Error::GoneDataset),
            }
        }
        if added > 0 {
            storage::datasets::clear_version(&mut transaction, self.dataset).await?;
        }
        transaction.commit().await.map_err(storage::Error::from)?;
        self.report.added += added;
        self.report.duplicates += duplicates;
        for (name, rejection) in refused {
            match rejection {
                Some(rejection) => self.report.reject(name, &rejection),
                None => self.report.ignore(name),
            }
        }
        Ok(())
    }
}

fn split_of(place: Place, sha256: &Digest) -> Split {
    place.split.unwrap_or_else(|| Split::by_content(sha256))
}

enum Source {
    Memory(Vec<u8>),
    File(TempPath),
}

/// Bytes become a checked image in a temporary file, or a reason why not.
fn check(
    source: Source,
    place: Place,
    name: &str,
    datasets: &Datasets,
) -> Result<Result<Checked, Rejection>, Error> {
    let (bytes, file) = match source {
        Source::Memory(bytes) => (bytes, None),
        Source::File(file) => {
            (fs::read(&file).map_err(|source| Error::disk(&file, source))?, Some(file))
        }
    };
    let limits = &datasets.limits().image;
    let _memory = match vision::decoding_memory(&bytes, limits, None) {
        Ok(bytes) => match datasets.memory().wait_for_image(bytes) {
            Ok(memory) => memory,
            Err(error) => return Ok(Err(error.into())),
        },
        Err(error) => return Ok(Err(error.into())),
    };
    let pixels = match vision::decode(&bytes, limits) {
        Ok(pixels) => pixels,
        Err(error) => return Ok(Err(error.into())),
    };
    let (format, fingerprint) =
        match (vision::Format::sniff(&bytes), fingerprint::fingerprint(&pixels)) {
            (Ok(format), Ok(fingerprint)) => (format, fingerprint),
            (Err(error), _) => return Ok(Err(error.into())),
            (_, Err(error)) => {
                return Ok(Err(vision::DecodeError::Corrupt(error.to_string()).into()));
            }
        };
    let sha256 = Digest::of(&bytes);
    let file = match file {
        Some(file) => file,
        None => datasets.blobs().write_temporary(&bytes)?,
    };
    let image = NewImage {
        sha256,
        file_name: name.to_owned(),
        label: place.label,
        split: split_of(place, &sha256),
        media_type: format.media_type(),
        width: pixels.width(),
        height: pixels.height(),
        bytes: bytes.len() as u64,
        fingerprint,
    };
    Ok(Ok(Checked { file, image }))
}
