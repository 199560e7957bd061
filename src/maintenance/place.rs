//! The folder that holds a backup.
//!
//! ```text
//! PAWPRINT-BACKUP.txt  says what this is; locked while a backup is made, restored or checked
//! current/             the backup: laid out as a data directory, with two files more
//!   backup.json          what it is of, and when it was made
//!   SHA256SUMS           the hashes of all its other files
//! incomplete/          a backup under way, or one that was interrupted
//! previous/            the backup before, while the new one takes its place
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Error, files};
use crate::{
    datasets::junk::is_junk,
    domain::{Timestamp, dataset::Digest},
    storage::upkeep::Totals,
    weights,
};

/// The form of backup that this program makes and reads.
const FORMAT: u32 = 1;
const MARK: &str = "PAWPRINT-BACKUP.txt";
const TEXT: &str = "\
This directory holds a backup of a Pawprint data directory, made by `pawprint backup`.

current/     the last complete backup; `pawprint restore` restores it
incomplete/  a backup that is under way, or that was interrupted: not to be used

Everything in here but this file may be replaced by the next backup.
";
const CURRENT: &str = "current";
const INCOMPLETE: &str = "incomplete";
const PREVIOUS: &str = "previous";
/// File that describes a backup; where it lies, the backup is complete.
pub(super) const ABOUT: &str = "backup.json";

/// What a backup is of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// Version of this form of backup.
    pub format: u32,
    /// The program that made it.
    pub pawprint_version: String,
    /// When its database was copied.
    pub created_at: Timestamp,
    /// The data directory it is of.
    pub data_dir: PathBuf,
    /// What its database holds.
    #[serde(flatten)]
    pub totals: Totals,
    /// Files of the backup.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl About {
    /// A backup of `data_dir`.
    pub(super) fn new(
        data_dir: &Path,
        created_at: Timestamp,
        totals: Totals,
        files: u64,
        bytes: u64,
    ) -> Self {
        Self {
            format: FORMAT,
            pawprint_version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at,
            data_dir: data_dir.to_owned(),
            totals,
            files,
            bytes,
        }
    }

    /// Reads what the backup in `root` is of.
    fn read(root: &Path) -> Result<Self, Error> {
        let path = root.join(ABOUT);
        let damaged = |source| Error::About { path: path.clone(), source };
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        // Looked at first: a newer form need not read as ours.
        match value["format"].as_u64().and_then(|format| u32::try_from(format).ok()) {
            Some(format) if format > FORMAT => {
                Err(Error::NewerBackup { path: root.to_owned(), format })
            }
            _ => serde_json::from_value(value).map_err(damaged),
        }
    }

    /// Completes the backup in `root`.
    pub(super) fn write(&self, root: &Path) -> Result<(), Error> {
        let path = root.join(ABOUT);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::About { path: path.clone(), source })?;
        weights::files::write(&path, &text).map_err(Error::io(&path))
    }
}

/// A folder that a backup is being made in.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the folder where it is missing, locks it, and clears away what an interrupted backup
    /// left there, but for the images it had copied.
    ///
    /// # Errors
    /// It holds something else, another backup is under way, or it can't be written.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        if !root.join(MARK).exists() && has_others(root, &[])? {
            return Err(Error::Foreign(root.to_owned()));
        }
        fs::create_dir_all(root).map_err(Error::io(root))?;
        let root = root.canonicalize().map_err(Error::io(root))?;
        let path = root.join(MARK);
        let open = OpenOptions::new().append(true).create(true).open(&path);
        let mut lock = open.map_err(Error::io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(root)),
            Err(TryLockError::Error(error)) => return Err(Error::io(&path)(error)),
        }
        if lock.metadata().map_err(Error::io(&path))?.len() == 0 {
            lock.write_all(TEXT.as_bytes()).map_err(Error::io(&path))?;
        }
        let place = Self { root, _lock: lock };
        let (current, previous) = (place.current(), place.root.join(PREVIOUS));
        if current.join(ABOUT).exists() {
            remove(&previous)?;
        } else if previous.join(ABOUT).exists() {
            remove(&current)?;
            fs::rename(&previous, &current).map_err(Error::io(&current))?;
        }
        let incomplete = place.incomplete();
        fs::create_dir_all(&incomplete).map_err(Error::io(&incomplete))?;
        for entry in fs::read_dir(&incomplete).map_err(Error::io(&incomplete))? {
            let entry = entry.map_err(Error::io(&incomplete))?;
            if entry.file_name() != "blobs" {
                remove(&entry.path())?;
            }
        }
        Ok(place)
    }

    /// The folder itself, absolute.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the last complete backup lies, if there is one.
    pub(super) fn current(&self) -> PathBuf {
        self.root.join(CURRENT)
    }

    /// Where the new one is made.
    pub(super) fn incomplete(&self) -> PathBuf {
        self.root.join(INCOMPLETE)
    }

    /// Puts the new backup in the place of the last one.
    pub(super) fn commit(&self) -> Result<(), Error> {
        let (current, previous) = (self.current(), self.root.join(PREVIOUS));
        remove(&previous)?;
        match fs::rename(&current, &previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(&previous)(error));
            }
            _ => {}
        }
        fs::rename(self.incomplete(), &current).map_err(Error::io(&current))?;
        files::sync(&self.root)?;
        remove(&previous)
    }
}

/// A complete backup; it stays as it is while this lives.
#[derive(Debug)]
pub struct Found {
    /// Where its files lie.
    pub root: PathBuf,
    /// What it is of.
    pub about: About,
    /// The hashes of its files, as far as they can be read.
    pub(super) sums: files::Sums,
    _lock: Option<File>,
}

impl Found {
    /// The hash that the file at that path in the backup should have, if that is known.
    pub(super) fn expected(&self, path: &str) -> Option<Digest> {
        self.sums.get(path).copied().or_else(|| path.strip_prefix("blobs/")?.get(3..)?.parse().ok())
    }
}

/// The backup in `folder`, which holds one or is the `current` of one that does.
///
/// # Errors
/// There is none, or none that is complete, or it is being written.
pub fn find(folder: &Path) -> Result<Found, Error> {
    let none = || Error::NoBackup(folder.to_owned());
    let folder = folder.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => none(),
        _ => Error::io(folder)(error),
    })?;
    let outer = match folder.file_name() {
        Some(name) if name == CURRENT => folder.parent().unwrap_or(&folder),
        _ => &folder,
    };
    let lock = match File::open(outer.join(MARK)) {
        Ok(lock) => match lock.try_lock_shared() {
            Ok(()) => Some(lock),
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(folder)),
            Err(TryLockError::Error(error)) => return Err(Error::io(&folder)(error)),
        },
        // It was copied without, or is not for us to lock.
        Err(_) => None,
    };
    let candidates = [folder.clone(), folder.join(CURRENT), folder.join(PREVIOUS)];
    let root = candidates.into_iter().find(|root| root.join(ABOUT).exists());
    match root {
        Some(root) => {
            let (about, sums) = (About::read(&root)?, files::read_sums(&root)?);
            Ok(Found { root, about, sums, _lock: lock })
        }
        None if folder.join(INCOMPLETE).exists() => Err(Error::Incomplete(folder)),
        None => Err(Error::NoBackup(folder)),
    }
}

/// Whether `folder` holds a backup, or is one, complete or not.
#[must_use]
pub fn is_backup(folder: &Path) -> bool {
    [MARK, ABOUT].iter().any(|name| folder.join(name).exists())
        || folder.join(CURRENT).join(ABOUT).exists()
}

/// Whether something lies in `folder` that has none of the `known` names, and is not what systems
/// leave everywhere. A folder that is not there has nothing.
pub(super) fn has_others(folder: &Path, known: &[&str]) -> Result<bool, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(Error::io(folder))?,
    };
    for entry in entries {
        let name = entry.map_err(Error::io(folder))?.file_name();
        let is_known = name.to_str().is_some_and(|name| known.contains(&name) || is_junk(name));
        if !is_known {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_new_backup_was_about_to_take_its_place_the_one_before_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let totals = Totals { datasets: 1, images: 2, jobs: 3, models: 4 };
        let about = About::new(Path::new("/data"), Timestamp::now(), totals, 0, 0);
        let place = Place::open(folder.path()).unwrap();
        assert!(matches!(Place::open(folder.path()), Err(Error::Busy(_))));
        assert!(matches!(find(folder.path()), Err(Error::Busy(_))));
        about.write(&place.incomplete()).unwrap();
        place.commit().unwrap();
        drop(place);
        // As after a crash between the two renames.
        let (current, previous) = (folder.path().join(CURRENT), folder.path().join(PREVIOUS));
        fs::rename(&current, &previous).unwrap();
        fs::create_dir(folder.path().join(INCOMPLETE)).unwrap();
        let found = find(folder.path()).unwrap();
        assert_eq!(
            (found.about.totals, found.root.file_name().unwrap()),
            (totals, "previous".as_ref())
        );
        drop(found);
        let place = Place::open(folder.path()).unwrap();
        assert!(current.join(ABOUT).exists() && !previous.exists());
        about.write(&place.incomplete()).unwrap();
        place.commit().unwrap();
        drop(place);
        assert!(!previous.exists());
        assert_eq!(find(folder.path()).unwrap().root.file_name().unwrap(), "current");
        assert_eq!(find(&current).unwrap().about.totals, totals);
    }

    #[test]
    fn a_backup_of_a_newer_form_is_told_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(folder.path().join(ABOUT), text).unwrap();
            find(folder.path()).unwrap_err()
        };
        assert!(matches!(read("{\"format\": 2}"), Error::NewerBackup { format: 2, .. }));
        assert!(matches!(read("{\"format\": 1}"), Error::About { .. }));
        assert!(matches!(read("{"), Error::About { .. }));
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        for name in [CURRENT, INCOMPLETE, PREVIOUS] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert!(matches!(Place::open(folder.path()), Err(Error::Foreign(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
