//! Backups of a data directory, what restores them, and checks of everything that lies in one.
//!
//! Called by the commands `backup`, `restore` and `doctor`, beside a server or without one, and by
//! `housekeeping` to find unreferenced files. Everything here blocks: it runs on the main thread of a
//! command, and nothing else runs there.
//!
//! | module | what for |
//! |---|---|
//! | [`backup`] | a consistent copy of a data directory |
//! | `copier` | its files, of which those of the backup before are not copied again |
//! | [`place`] | the folder that holds a backup |
//! | [`restore`] | a data directory out of a backup |
//! | [`doctor`] | rows and files against each other |
//! | [`unreferenced`] | files and folders of ids that no row has |
//! | `files` | files hashed, copied, listed, synced |

pub mod backup;
mod copier;
pub mod doctor;
mod files;
pub mod place;
pub mod restore;
pub mod unreferenced;

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{blobs, data_dir, storage, weights};

/// Told how many of how many files are done.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Why there is no backup, or none is restored, or nothing can be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to back up or to check.
    #[error(
        "{0} is not a Pawprint data directory; name the one to use with --data-dir (PAWPRINT_DATA_DIR)"
    )]
    NoData(PathBuf),
    /// The folder for a backup has other content.
    #[error(
        "{0} is not empty and holds no Pawprint backup; choose an empty or new directory for the backup"
    )]
    Foreign(PathBuf),
    /// The folder for a backup lies in what is to be backed up.
    #[error("{0} lies inside the data directory; choose a directory outside it for the backup")]
    Inside(PathBuf),
    /// Another process writes or reads the backup.
    #[error("{0} is in use by another backup or restore; try again when that has ended")]
    Busy(PathBuf),
    /// There is no backup.
    #[error("{0} holds no Pawprint backup")]
    NoBackup(PathBuf),
    /// There is a part of a backup.
    #[error("the backup in {0} is incomplete: it was interrupted; run `pawprint backup` again")]
    Incomplete(PathBuf),
    /// The backup is of a form that this program does not know.
    #[error(
        "the backup in {path} was made by a newer version of Pawprint (format {format}); use that version"
    )]
    NewerBackup {
        /// Where it lies.
        path: PathBuf,
        /// Its form.
        format: u32,
    },
    /// The file that describes the backup can't be understood.
    #[error("the backup can't be read: {path} is damaged")]
    About {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: serde_json::Error,
    },
    /// The folder to restore into has content.
    #[error(
        "{0} is not empty; restore into an empty or new directory (--data-dir), or move this one away first"
    )]
    NotEmpty(PathBuf),
    /// What matters most in the backup is damaged.
    #[error("the database of the backup is damaged: {0}; nothing was restored")]
    DatabaseDamaged(PathBuf),
    /// The database can't be copied.
    #[error("can't copy the database {path}: {reason}; `pawprint doctor` checks the database")]
    CopyDatabase {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// Repairing while a server writes.
    #[error("a server is using {0}; stop it before you repair")]
    ServerRuns(PathBuf),
    /// Repairing a backup.
    #[error("{0} is a backup, which is never changed; restore it, and repair the result")]
    RepairBackup(PathBuf),
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] data_dir::Error),
    /// The database can't be read.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The images can't be read.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// A checkpoint or a model can't be read.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// There is no room.
    #[error("the disk that holds {0} is full; make room and try again")]
    DiskFull(PathBuf),
    /// A file can't be copied.
    #[error("can't copy {from} to {to}")]
    Copy {
        /// The file.
        from: PathBuf,
        /// Where the copy was to lie.
        to: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file system refused.
    #[error("can't read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The file system refused what was asked of `path`.
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Self::DiskFull(path),
            _ => Self::Io { path, source },
        }
    }

    /// The file system refused a copy.
    fn copy(from: &Path, to: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull => Self::DiskFull(to.to_owned()),
            _ => Self::Copy { from: from.to_owned(), to: to.to_owned(), source },
        }
    }
}

/// What the system or SQLite said at first: the errors around it repeat it.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
