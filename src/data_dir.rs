//! The data directory: its layout, and the lock that keeps a second server out.
//!
//! ```text
//! lock                      held while a server runs; names the addresses that it listens on
//! pawprint.sqlite           the database
//! blobs/ab/ab12…            images as they were uploaded, by SHA-256
//! cache/                    decoded images; may be deleted while no server runs
//! jobs/<id>/                a job's folder: spec, manifest, log, checkpoints
//! models/<id>.safetensors   models
//! predictions/ab/ab12…      images of logged predictions, if they are kept
//! reviews/<dataset id>/     what the review of a dataset found; computed again if it is missing
//! weights/                  VGG16 weights, see `pretrained`
//! tmp/                      uploads in progress; emptied at start
//! damaged/                  what `pawprint doctor --repair` has set aside
//! pawprint.sqlite.restoring the database of a restore that is not complete
//! ```

mod permissions;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use self::permissions::Unwritable;
use self::permissions::unwritable;
use crate::domain::{DatasetId, JobId, ModelId};

/// A data directory: locked by this process, unless it only looks at it.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    lock: Option<File>,
}

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another server holds it.
    #[error(
        "{0} is in use by another Pawprint server; stop that server, or choose another --data-dir (PAWPRINT_DATA_DIR)"
    )]
    InUse(PathBuf),
    /// A restore into it broke off.
    #[error("a restore into {0} did not complete; run `pawprint restore` again")]
    HalfRestored(PathBuf),
    /// It belongs to another user, or is mounted read-only.
    #[error("{0}")]
    Unwritable(Unwritable),
    /// It can't be created or written.
    #[error("can't use {path} as the data directory")]
    Io {
        /// The folder or file in question.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// File that is locked.
pub const LOCK: &str = "lock";
/// File of the database.
pub const DATABASE: &str = "pawprint.sqlite";

fn at(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { path: path.clone(), source }
}

impl DataDir {
    /// Makes the folders that are missing, takes the lock and empties `tmp/`.
    ///
    /// # Errors
    /// Another server uses it, a restore into it broke off, or it can't be written.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let data_dir = Self::lock(root)?;
        if data_dir.restoring().exists() {
            return Err(Error::HalfRestored(data_dir.root));
        }
        let tmp = data_dir.tmp();
        match fs::remove_dir_all(&tmp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&tmp)(error)),
            _ => {}
        }
        for folder in [tmp, data_dir.blobs(), data_dir.cache(), data_dir.jobs(), data_dir.models()]
        {
            fs::create_dir_all(&folder).map_err(at(&folder))?;
        }
        Ok(data_dir)
    }

    /// Takes the lock, and makes nothing but the directory itself.
    ///
    /// # Errors
    /// Another server holds it, or it can't be written.
    pub fn lock(root: &Path) -> Result<Self, Error> {
        fs::create_dir_all(root).map_err(at(root))?;
        // Absolute, because it is passed to trainers and the working directory may change.
        let mut data_dir = Self::look(root)?;
        if let Some(unwritable) = unwritable(&data_dir.root, data_dir.written()) {
            return Err(Error::Unwritable(unwritable));
        }
        let path = data_dir.lock_file();
        // Its content is that of whoever holds the lock.
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = opened.map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(data_dir.root)),
            Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
        }
        lock.set_len(0).map_err(at(&path))?;
        data_dir.lock = Some(lock);
        Ok(data_dir)
    }

    /// The files and folders that a server writes, without what is in them.
    fn written(&self) -> Vec<PathBuf> {
        let database = self.database().display().to_string();
        let beside = ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{database}{end}")));
        let mut written = vec![self.root.clone(), self.lock_file()];
        written.extend(beside);
        written.extend([self.tmp(), self.blobs(), self.cache(), self.jobs(), self.models()]);
        written
    }

    /// The directory without its lock, to be read beside a server that may run.
    ///
    /// # Errors
    /// It is not there.
    pub fn look(root: &Path) -> Result<Self, Error> {
        let root = root.canonicalize().map_err(at(root))?;
        Ok(Self { root, lock: None })
    }

    /// Whether a server, or whoever else, holds the lock.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let lock = File::open(self.lock_file());
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Leaves the addresses that this process's server listens on in the lock's file, one a line, for
    /// [`DataDir::addresses`].
    ///
    /// # Errors
    /// It can't be written.
    pub fn publish(&self, addresses: &[SocketAddr]) -> Result<(), Error> {
        let Some(mut lock) = self.lock.as_ref() else { return Ok(()) };
        let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        lock.write_all(lines.as_bytes()).map_err(at(&self.lock_file()))
    }

    /// The addresses of the server that opened the directory last; none before it listens.
    ///
    /// # Errors
    /// They can't be read.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let path = self.lock_file();
        match fs::read_to_string(&path) {
            Ok(lines) => Ok(lines.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// The directory itself, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join(LOCK)
    }

    /// The database's file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join(DATABASE)
    }

    /// Images as they were uploaded.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Decoded images.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The folders of all jobs.
    #[must_use]
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// The folder of one job.
    #[must_use]
    pub fn job(&self, id: JobId) -> PathBuf {
        self.jobs().join(id.to_string())
    }

    /// The files of all models.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The file of one model.
    #[must_use]
    pub fn model(&self, id: ModelId) -> PathBuf {
        self.models().join(format!("{id}.safetensors"))
    }

    /// The folders of all reviews.
    #[must_use]
    pub fn reviews(&self) -> PathBuf {
        self.root.join("reviews")
    }

    /// The folder of the review of one dataset.
    #[must_use]
    pub fn review(&self, id: DatasetId) -> PathBuf {
        self.reviews().join(id.to_string())
    }

    /// Images of logged predictions.
    #[must_use]
    pub fn prediction_photos(&self) -> PathBuf {
        self.root.join("predictions")
    }

    /// Pretrained weights.
    #[must_use]
    pub fn weights(&self) -> PathBuf {
        self.root.join("weights")
    }

    /// Temporary files, on the same file system.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The database of a restore that is not complete.
    #[must_use]
    pub fn restoring(&self) -> PathBuf {
        self.root.join(format!("{DATABASE}.restoring"))
    }

    /// Damaged files that were set aside.
    #[must_use]
    pub fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_cannot_share_a_data_directory() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(Error::InUse(_))));
        drop(first);
        assert!(DataDir::open(folder.path()).is_ok());
    }

    #[test]
    fn uploads_that_a_crash_left_behind_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let leftover = folder.path().join("tmp/half-an-upload");
        fs::create_dir_all(leftover.parent().unwrap()).unwrap();
        fs::write(&leftover, "x").unwrap();
        let _data_dir = DataDir::open(folder.path()).unwrap();
        assert!(!leftover.exists());
    }
    #[test]
    fn the_addresses_of_a_server_are_those_of_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let look = || DataDir::look(folder.path()).unwrap().addresses().unwrap();
        assert_eq!(look(), []);
        let addresses = ["127.0.0.1:8080", "[::1]:8080"].map(|it| it.parse().unwrap());
        let first = DataDir::open(folder.path()).unwrap();
        first.publish(&addresses).unwrap();
        assert!(DataDir::open(folder.path()).is_err());
        assert_eq!(look(), addresses);
        drop(first);
        let _second = DataDir::open(folder.path()).unwrap();
        assert_eq!(look(), []);
    }
}
