//! One upload in progress: bodies and parts arrive chunk by chunk, in temporary files that are
//! deleted with their handles, so that a client that leaves midway leaves nothing behind.
//!
//! Driven by the task of one request.

use std::io::Write as _;

use bytes::Bytes;
use tempfile::{NamedTempFile, TempPath};

use super::{
    Datasets, Error, blocking,
    classes::class_name,
    ingest::{Content, Ingest},
    junk::is_junk,
    layout::{AssignmentRule, LabelSource, Layout},
    paths,
    report::{Rejection, Report},
};
use crate::{domain::dataset::Split, memory_budget::Reservation};

/// Bytes that are gathered before they are written.
const CHUNK: usize = 256 << 10;

/// A temporary file that is being written.
#[derive(Debug)]
pub struct Spool {
    file: NamedTempFile,
    buffer: Vec<u8>,
    /// What is gathered.
    memory: Reservation,
    bytes: u64,
}

/// A temporary file that is complete.
#[derive(Debug)]
pub struct Spooled {
    /// The file, deleted when this is dropped.
    pub path: TempPath,
    /// Its size.
    pub bytes: u64,
}

impl Spool {
    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends `chunk`.
    ///
    /// # Errors
    /// The disk failed or is full.
    pub async fn push(mut self, chunk: Bytes) -> Result<Self, Error> {
        self.bytes += chunk.len() as u64;
        if self.memory.grow(chunk.len() as u64).is_err() {
            // Nothing can be gathered.
            return blocking(move || self.flush()?.write(&chunk)).await;
        }
        self.buffer.extend_from_slice(&chunk);
        if self.buffer.len() < CHUNK {
            return Ok(self);
        }
        blocking(move || self.flush()).await
    }

    /// Completes the file.
    ///
    /// # Errors
    /// The disk failed or is full.
    pub async fn finish(self) -> Result<Spooled, Error> {
        let spool = blocking(move || self.flush()).await?;
        Ok(Spooled { path: spool.file.into_temp_path(), bytes: spool.bytes })
    }

    fn flush(mut self) -> Result<Self, Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut spool = self.write(&buffer)?;
        buffer.clear();
        spool.buffer = buffer;
        spool.memory.clear();
        Ok(spool)
    }

    fn write(mut self, bytes: &[u8]) -> Result<Self, Error> {
        match self.file.write_all(bytes) {
            Ok(()) => Ok(self),
            Err(source) => Err(Error::disk(self.file.path(), source)),
        }
    }
}

/// Bytes of a path that are kept until all files have arrived: more than file systems allow.
const MAX_PATH: usize = 4096;

/// The files of an upload. They are added to the dataset when all of them have arrived, since what
/// one path means depends on the others.
#[derive(Debug)]
pub struct Upload {
    ingest: Ingest,
    layout: Layout,
    rule: AssignmentRule,
}

impl Datasets {
    /// Begins an upload of single files to a dataset, all of one class if `label` is given.
    ///
    /// # Errors
    /// There is no such dataset, or `label` is no class of it and can't become one.
    pub async fn upload(
        &self,
        dataset: &str,
        split: Option<Split>,
        label: Option<&str>,
        labels: LabelSource,
    ) -> Result<Upload, Error> {
        let row = self.row(dataset).await?;
        let label = label.map(|label| class_name(&row, label)).transpose()?;
        let layout = Layout::new(&row.classes, row.open);
        let ingest = Ingest::new(self.clone(), row.id, false);
        Ok(Upload { ingest, layout, rule: AssignmentRule { split, label, labels } })
    }

    /// Adds one image, of the class `label` or without one, as an upload does.
    ///
    /// # Errors
    /// As [`Self::upload`], or the disk or the database failed. A rejected image is not an error.
    pub async fn add_image(
        &self,
        dataset: &str,
        name: &str,
        bytes: Bytes,
        label: Option<&str>,
        split: Option<Split>,
    ) -> Result<Report, Error> {
        let labels = if label.is_some() { LabelSource::Folders } else { LabelSource::None };
        let mut upload = self.upload(dataset, split, label, labels).await?;
        let file = self.spool().await?.push(bytes).await?.finish().await?;
        upload.add(name, file).await?;
        upload.finish().await
    }

    /// A new temporary file.
    ///
    /// # Errors
    /// The disk failed or is full.
    pub async fn spool(&self) -> Result<Spool, Error> {
        let blobs = self.blobs().clone();
        let file = blocking(move || Ok(blobs.temporary()?)).await?;
        Ok(Spool { file, buffer: Vec::new(), memory: self.memory().body(), bytes: 0 })
    }
}

impl Upload {
    /// Adds a file named `name`.
    ///
    /// # Errors
    /// The disk or the database failed. A rejected file is not an error.
    pub async fn add(&mut self, name: &str, file: Spooled) -> Result<(), Error> {
        let path = self.observe(name);
        if is_junk(&path) {
            return self.ingest.ignore(path).await;
        }
        self.ingest.add(path, None, Content::Spooled(file.path, file.bytes)).await
    }

    /// Rejects a file that had more than `max` bytes.
    ///
    /// # Errors
    /// The database failed.
    pub async fn too_large(&mut self, name: &str, max: u64) -> Result<(), Error> {
        let path = self.observe(name);
        self.ingest.reject(path, Rejection::TooLarge { max }).await
    }

    /// Adds the accepted files to the dataset.
    ///
    /// # Errors
    /// The disk or the database failed.
    pub async fn finish(self) -> Result<Report, Error> {
        let Self { mut ingest, layout, rule: placing } = self;
        ingest.assign(|path| (paths::display_path(path), layout.assign(path, &placing))).await?;
        ingest.finish().await
    }

    /// Records a file named `name`; returns the path it is known by until all have arrived.
    fn observe(&mut self, name: &str) -> String {
        let path = &name[name.ceil_char_boundary(name.len().saturating_sub(MAX_PATH))..];
        self.layout.observe(path);
        path.to_owned()
    }
}
