//! Adds files to a dataset as images: checked in parallel, added in order.
//!
//! Driven by the task of one upload. Decoding and hashing happen on blocking threads, a few at a
//! time over all uploads; a file that passed is in a temporary file until its batch is added. A
//! batch is: blobs renamed into place and synced, then one transaction with their rows. So an
//! upload that is interrupted before that leaves nothing behind.

use std::{
    collections::{HashMap, VecDeque},
    fs,
};

use tempfile::TempPath;
use tokio::{sync::OwnedSemaphorePermit, task::JoinHandle};

use super::{
    Datasets, Error,
    classes::{add_classes, refusal},
    fingerprint,
    layout::{Assignment, PathDecision},
    report::{Rejection, Report},
};
use crate::{
    domain::{
        ClassName, DatasetId,
        dataset::{Digest, Split},
    },
    storage::{
        self,
        images::{Inserted, NewImage},
    },
    vision,
};

/// Images that are added in one transaction.
const BATCH: usize = 500;

/// The bytes of a file to check.
#[derive(Debug)]
pub(super) enum Content {
    /// In memory, within the throttle's limit.
    Memory(Vec<u8>, OwnedSemaphorePermit),
    /// In a temporary file of that many bytes.
    Spooled(TempPath, u64),
}

/// A file that passed its check.
#[derive(Debug)]
struct Checked {
    file: TempPath,
    image: NewImage,
    /// Its class by name; `None` until all files of the upload have arrived, and if it is unlabelled.
    /// The index of the class is known only within the transaction that adds the image.
    label: Option<ClassName>,
}

/// The result of a file, by its name.
type Outcome = (String, FileStatus);

#[derive(Debug)]
enum FileStatus {
    Passed(Box<Checked>),
    Rejected(Rejection),
    Ignored,
}

#[derive(Debug)]
enum PendingFile {
    Done(Outcome),
    Checking(JoinHandle<Result<Outcome, Error>>),
}

/// One upload in progress.
#[derive(Debug)]
pub(super) struct Ingest {
    datasets: Datasets,
    dataset: DatasetId,
    /// Whether batches are added as they fill, not only at the end.
    eager: bool,
    pending: VecDeque<PendingFile>,
    outcomes: Vec<Outcome>,
    report: Report,
}

impl Ingest {
    pub(super) fn new(datasets: Datasets, dataset: DatasetId, eager: bool) -> Self {
        Self {
            datasets,
            dataset,
            eager,
            pending: VecDeque::new(),
            outcomes: Vec::new(),
            report: Report::default(),
        }
    }

    /// Records a file that was rejected unread.
    pub(super) async fn reject(&mut self, name: String, rejection: Rejection) -> Result<(), Error> {
        self.push_outcome(name, FileStatus::Rejected(rejection)).await
    }

    /// Records an ignored file.
    pub(super) async fn ignore(&mut self, name: String) -> Result<(), Error> {
        self.push_outcome(name, FileStatus::Ignored).await
    }

    async fn push_outcome(&mut self, name: String, status: FileStatus) -> Result<(), Error> {
        self.pending.push_back(PendingFile::Done((name, status)));
        self.await_checks(Self::window(&self.datasets)).await
    }

    /// Adds a file; waits while enough of them are being checked. Without a place it needs one
    /// before it is stored: see [`Self::assign`].
    pub(super) async fn add(
        &mut self,
        name: String,
        assignment: Option<Assignment>,
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
        self.pending.push_back(PendingFile::Checking(tokio::task::spawn_blocking(move || {
            let checked = check(source, assignment, &name, &datasets);
            drop((room, worker));
            checked.map(|checked| match checked {
                Ok(checked) => (name, FileStatus::Passed(Box::new(checked))),
                Err(rejection) => (name, FileStatus::Rejected(rejection)),
            })
        })));
        self.await_checks(Self::window(&self.datasets)).await
    }

    /// Waits for all checks, and assigns to each file so far, by the name it was added under, its
    /// final name and its place. A rejection by its path takes precedence over one by its content.
    pub(super) async fn assign(
        &mut self,
        assign: impl Fn(&str) -> (String, PathDecision),
    ) -> Result<(), Error> {
        self.await_checks(0).await?;
        for (name, status) in &mut self.outcomes {
            let (shown, assignment) = assign(name);
            match (assignment, &mut *status) {
                (PathDecision::Accept(assignment), FileStatus::Passed(checked)) => {
                    checked.image.file_name.clone_from(&shown);
                    checked.image.split = split_of(&assignment, &checked.image.sha256);
                    checked.label = assignment.label;
                }
                (PathDecision::Accept(_), _) => {}
                (PathDecision::Reject(rejection), _) => *status = FileStatus::Rejected(rejection),
                (PathDecision::Ignore, _) => *status = FileStatus::Ignored,
            }
            *name = shown;
        }
        Ok(())
    }

    /// Waits for all checks, adds the files that passed, and returns the report.
    pub(super) async fn finish(mut self) -> Result<Report, Error> {
        self.await_checks(0).await?;
        while !self.outcomes.is_empty() {
            self.commit_batch().await?;
        }
        Ok(self.report)
    }

    fn window(datasets: &Datasets) -> usize {
        datasets.limits().workers * 4
    }

    /// Collects finished checks in the order of their files, until at most `open` are left.
    async fn await_checks(&mut self, open: usize) -> Result<(), Error> {
        while self.pending.len() > open {
            let Some(next) = self.pending.pop_front() else { break };
            let outcome = match next {
                PendingFile::Done(outcome) => outcome,
                PendingFile::Checking(check) => {
                    check.await.map_err(|_| Error::WorkerPanicked)??
                }
            };
            self.outcomes.push(outcome);
            if self.eager && self.outcomes.len() >= BATCH {
                self.commit_batch().await?;
            }
        }
        Ok(())
    }

    /// Adds the next batch.
    async fn commit_batch(&mut self) -> Result<(), Error> {
        let batch: Vec<Outcome> = self.outcomes.drain(..self.outcomes.len().min(BATCH)).collect();
        let mut files = Vec::new();
        let mut unlabelled = Vec::new();
        let mut rows = Vec::new();
        for (name, status) in batch {
            let row = match status {
                FileStatus::Passed(checked) => {
                    let Checked { file, image, label } = *checked;
                    files.push((image.sha256, file));
                    let Some(label) = label else {
                        unlabelled.push(image);
                        continue;
                    };
                    Ok((image, label))
                }
                FileStatus::Rejected(rejection) => Err(Some(rejection)),
                FileStatus::Ignored => Err(None),
            };
            rows.push((name, row));
        }
        // A sweep must not come between the blobs and their rows.
        let _gate = self.datasets.sweep_lock().read().await;
        if !files.is_empty() {
            let blobs = self.datasets.blobs().clone();
            super::blocking(move || Ok(blobs.put(files)?)).await?;
        }
        let (mut added, mut duplicates) = (0, 0);
        let mut refused = Vec::new();
        let mut transaction = self.datasets.storage().write().await?;
        let dataset = storage::datasets::find(&mut transaction, &self.dataset.to_string()).await?;
        let dataset = dataset.ok_or(Error::DatasetDeleted)?;
        let images = rows.iter().filter_map(|(_, row)| row.as_ref().ok());
        let classes = add_classes(&mut transaction, &dataset, images).await?;
        let indices: HashMap<String, usize> =
            classes.names().iter().map(ClassName::folded).zip(0..).collect();
        for (name, row) in rows {
            let (mut image, label) = match row {
                Ok(image) => image,
                Err(rejection) => {
                    refused.push((name, rejection));
                    continue;
                }
            };
            let Some(index) = indices.get(&label.folded()).copied() else {
                refused.push((
                    name,
                    Some(refusal(&mut transaction, &dataset, &classes, &image, label).await?),
                ));
                continue;
            };
            image.label = index;
            match storage::images::insert(&mut transaction, self.dataset, &image).await? {
                Inserted::New => added += 1,
                Inserted::Known { label } if label == image.label => duplicates += 1,
                Inserted::Known { label } => match classes.name(label) {
                    Some(label) => {
                        let conflict = Rejection::LabelConflict { label: label.clone() };
                        refused.push((name, Some(conflict)));
                    }
                    None => return Err(Error::DatasetDeleted),
                },
                Inserted::NoDataset => return Err(Error::DatasetDeleted),
            }
        }
        for image in unlabelled {
            match storage::unlabelled::insert(&mut transaction, self.dataset, &image).await? {
                true => added += 1,
                false => duplicates += 1,
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

fn split_of(assignment: &Assignment, sha256: &Digest) -> Split {
    assignment.split.unwrap_or_else(|| Split::by_content(sha256))
}

enum Source {
    Memory(Vec<u8>),
    File(TempPath),
}

/// Checks an image and writes it to a temporary file, or returns why it is rejected.
fn check(
    source: Source,
    assignment: Option<Assignment>,
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
    let _memory = match fingerprint::memory(&bytes, limits) {
        Ok(bytes) => match datasets.memory().wait_for_image(bytes) {
            Ok(memory) => memory,
            Err(error) => return Ok(Err(error.into())),
        },
        Err(error) => return Ok(Err(error.into())),
    };
    let (format, (fingerprint, (width, height))) =
        match (vision::Format::sniff(&bytes), fingerprint::of_file(&bytes, limits)) {
            (Ok(format), Ok(read)) => (format, read),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error.into())),
        };
    let sha256 = Digest::of(&bytes);
    let file = match file {
        Some(file) => file,
        None => datasets.blobs().write_temporary(&bytes)?,
    };
    let image = NewImage {
        sha256,
        file_name: name.to_owned(),
        label: 0,
        split: assignment.as_ref().map_or(Split::Train, |it| split_of(it, &sha256)),
        media_type: format.media_type(),
        width,
        height,
        bytes: bytes.len() as u64,
        fingerprint,
    };
    Ok(Ok(Checked { file, image, label: assignment.and_then(|it| it.label) }))
}
