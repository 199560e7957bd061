//! Datasets and their images: uploads, archives, blobs, statistics, manifests.
//!
//! Called by `http` and the scheduler through [`Datasets`], a handle that is cheap to clone. Its
//! methods are async and may be called from any task: blocking work (disks, decoding) runs on the
//! blocking pool, a bounded number of checks at a time over all uploads.
//!
//! | module | what for |
//! |---|---|
//! | [`upload`] | one upload in progress, file by file |
//! | `classes` | changes of a dataset's classes |
//! | [`archive`] | zip, tar and tar.gz, entry by entry |
//! | `ingest` | files become checked images, in batches |
//! | [`layout`] | class and split from the folders of an upload; by `labels` and `splits` |
//! | [`junk`] | system files in folders |
//! | [`paths`] | paths: checks, and their display |
//! | [`preview`] | what an upload would do |
//! | [`fingerprint`] | near-duplicates |
//! | [`manifest`] | the images of a dataset as a job sees them |
//! | [`stable_split`] | reassigns all images to splits by content |
//! | [`sweep`] | removes unreferenced blobs |
//! | `throttle` | what bounds the work of all uploads together |
//! | `unchanged` | what was computed of all images, until they change |

pub mod archive;
mod classes;
mod error;
pub mod fingerprint;
mod images;
mod ingest;
pub mod junk;
mod labels;
pub mod layout;
pub mod manifest;
pub mod paths;
pub mod preview;
pub mod report;
mod splits;
pub mod stable_split;
pub mod statistics;
pub mod sweep;
mod throttle;
mod unchanged;
pub mod upload;

use std::sync::Arc;

use sqlx::SqliteConnection;
use tokio::sync::{RwLock, Semaphore};

pub use self::{
    error::Error,
    layout::{AssignmentRule, LabelSource},
    manifest::Manifest,
};
use self::{statistics::Statistics, throttle::Throttle, unchanged::Unchanged};
use crate::{
    blobs::Blobs,
    config::ServeConfig,
    data_dir::DataDir,
    device::processors,
    domain::{
        DatasetId, Name,
        dataset::{Classes, Counts, Dataset, Digest, version_of},
    },
    error_chain::chain,
    memory_budget::MemoryBudget,
    storage::{self, Page, Storage, datasets::Row},
    vision,
};

/// Limits of uploads.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Limits of a decoded image.
    pub image: vision::Limits,
    /// Maximum bytes of an encoded image.
    pub max_image_bytes: u64,
    /// Maximum bytes of a body: an archive, or all parts of a form together.
    pub max_archive_bytes: u64,
    /// Maximum entries of an archive, or parts of a form.
    pub max_archive_entries: u64,
    /// Maximum uncompressed bytes of an archive.
    pub max_unpacked_bytes: u64,
    /// Images that are checked at the same time.
    pub workers: usize,
}

impl From<&ServeConfig> for Limits {
    fn from(config: &ServeConfig) -> Self {
        Self {
            image: vision::Limits { max_pixels: config.max_image_pixels },
            max_image_bytes: config.max_image_bytes,
            max_archive_bytes: config.max_archive_bytes,
            max_archive_entries: config.max_archive_entries,
            max_unpacked_bytes: config.max_unpacked_bytes,
            workers: processors().get(),
        }
    }
}

/// All datasets of a server.
#[derive(Debug, Clone)]
pub struct Datasets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    blobs: Blobs,
    limits: Limits,
    memory: MemoryBudget,
    throttle: Throttle,
    /// Thumbnails that may be created at the same time; separate from the checks, so that users can
    /// view their data while more is uploaded.
    thumbnails: Semaphore,
    /// Held for reading from a batch's first blob to the commit of its rows, and for writing while
    /// a sweep removes blobs without rows.
    sweep_lock: RwLock<()>,
    sums: Unchanged<Sums>,
    statistics: Unchanged<Statistics>,
}

/// What is counted of a dataset.
#[derive(Debug, Clone)]
struct Sums {
    counts: Counts,
    images: u64,
    bytes: u64,
    unlabelled: u64,
}

impl Datasets {
    /// The datasets in that database and data directory.
    #[must_use]
    pub fn new(storage: Storage, data_dir: &DataDir, limits: Limits, memory: MemoryBudget) -> Self {
        Self(Arc::new(Inner {
            storage,
            blobs: Blobs::new(data_dir.blobs(), data_dir.tmp()),
            limits,
            memory,
            throttle: Throttle::new(limits.workers),
            thumbnails: Semaphore::new(limits.workers),
            sweep_lock: RwLock::new(()),
            sums: Unchanged::default(),
            statistics: Unchanged::default(),
        }))
    }

    /// The store of the images' bytes.
    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// Limits of uploads.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn storage(&self) -> &Storage {
        &self.0.storage
    }

    fn memory(&self) -> &MemoryBudget {
        &self.0.memory
    }

    fn throttle(&self) -> &Throttle {
        &self.0.throttle
    }

    fn sweep_lock(&self) -> &RwLock<()> {
        &self.0.sweep_lock
    }

    /// Creates an empty dataset; without classes it is open: the images that arrive make them.
    ///
    /// # Errors
    /// The name is taken.
    pub async fn create(&self, name: &Name, classes: Option<&Classes>) -> Result<Dataset, Error> {
        let none = Classes::of_dataset(Vec::new())?;
        let mut transaction = self.storage().write().await?;
        let (open, classes) = (classes.is_none(), classes.unwrap_or(&none));
        storage::datasets::insert(&mut transaction, name, classes, open).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.get(name).await
    }

    /// The dataset of that id or name.
    ///
    /// # Errors
    /// There is none.
    pub async fn get(&self, dataset: &str) -> Result<Dataset, Error> {
        let mut snapshot = self.storage().snapshot().await?;
        let row = storage::datasets::find(&mut snapshot, dataset).await?;
        let row = row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))?;
        let counts = self.sums(&mut snapshot, &row).await?;
        drop(snapshot);
        self.describe(row, counts).await
    }

    /// Datasets, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, after: Option<DatasetId>, limit: u32) -> Result<Page<Dataset>, Error> {
        let mut snapshot = self.storage().snapshot().await?;
        let page = storage::datasets::page(&mut snapshot, after, limit).await?;
        let mut rows = Vec::with_capacity(page.items.len());
        for row in page.items {
            let counts = self.sums(&mut snapshot, &row).await?;
            rows.push((row, counts));
        }
        drop(snapshot);
        let mut items = Vec::with_capacity(rows.len());
        for (row, counts) in rows {
            items.push(self.describe(row, counts).await?);
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// Removes a dataset. The next sweep removes the files of its images.
    ///
    /// # Errors
    /// There is none, or an unfinished job uses it.
    pub async fn delete(&self, dataset: &str) -> Result<(), Error> {
        let mut transaction = self.storage().write().await?;
        let row = storage::datasets::find(&mut transaction, dataset).await?;
        let row = row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))?;
        if let Some(job) = storage::datasets::active_job(&mut transaction, row.id).await? {
            return Err(Error::InUse { dataset: row.name, job });
        }
        storage::datasets::delete(&mut transaction, row.id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        Ok(())
    }

    /// Checks that there is a dataset of that id or name.
    ///
    /// # Errors
    /// There is none.
    pub async fn require(&self, dataset: &str) -> Result<(), Error> {
        self.row(dataset).await.map(drop)
    }

    /// The row of the dataset of that id or name.
    ///
    /// # Errors
    /// There is none.
    pub async fn row(&self, dataset: &str) -> Result<Row, Error> {
        let mut connection = self.storage().read().await?;
        let row = storage::datasets::find(&mut connection, dataset).await?;
        row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))
    }

    /// Images and bytes of a dataset; see [`storage::datasets::counts`].
    async fn sums(&self, snapshot: &mut SqliteConnection, row: &Row) -> Result<Sums, Error> {
        if let Some(known) = self.0.sums.get(row.id, row.revision) {
            return Ok(known);
        }
        let (counts, images, bytes) = storage::datasets::counts(snapshot, row).await?;
        let unlabelled = storage::unlabelled::count(snapshot, row.id).await?;
        let sums = Sums { counts, images, bytes, unlabelled };
        self.0.sums.put(row.id, row.revision, sums.clone());
        Ok(sums)
    }

    /// The dataset of a row, with the counts that were read in the same snapshot.
    async fn describe(&self, row: Row, sums: Sums) -> Result<Dataset, Error> {
        let version = match row.version {
            Some(version) => version,
            None => self.compute_version(row.id).await?,
        };
        let Row { id, name, classes, open, created_at, .. } = row;
        let Sums { counts, images, bytes, unlabelled } = sums;
        Ok(Dataset {
            id,
            name,
            open,
            classes,
            version,
            counts,
            images,
            bytes,
            unlabelled,
            created_at,
        })
    }

    /// The current version of a dataset's images, which is stored if nothing changes meanwhile.
    /// Writers wait only while it is stored.
    async fn compute_version(&self, id: DatasetId) -> Result<Digest, Error> {
        let (row, samples) = {
            let mut snapshot = self.storage().snapshot().await?;
            let row = storage::datasets::find(&mut snapshot, &id.to_string()).await?;
            let row = row.ok_or_else(|| Error::NoDataset(id.to_string()))?;
            let samples = storage::images::samples(&mut snapshot, id).await?;
            (row, samples)
        };
        let revision = row.revision;
        let version = blocking(move || Ok(version_of(&samples, row.names()))).await?;
        if let Err(error) = self.store_version(id, revision, version).await {
            // It is recomputed the next time.
            tracing::warn!(error = chain(&error), "can't store the version of a dataset");
        }
        Ok(version)
    }

    async fn store_version(
        &self,
        id: DatasetId,
        revision: i64,
        version: Digest,
    ) -> Result<(), storage::Error> {
        let mut transaction = self.storage().write().await?;
        storage::datasets::store_version(&mut transaction, id, revision, version).await?;
        Ok(transaction.commit().await?)
    }
}

/// The index of the class of that name.
fn class(classes: &Classes, name: &str) -> Result<usize, Error> {
    classes.index_of(name).ok_or_else(|| Error::UnknownLabel {
        label: name.chars().take(100).collect(),
        classes: report::listed(classes),
    })
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::WorkerPanicked)?
}
