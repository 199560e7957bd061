//! The folder of a job in progress on this node, and what earlier jobs have left there.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use reqwest::Url;

use crate::{blobs::Blobs, training::cache::evict_unused};

/// File that is locked by whoever uses a folder.
const LOCK: &str = "lock";
/// Images and weights that no job has used for this long are removed.
const MAX_UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// How exactly it is known when one was used last.
const USED_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// A job's folder; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Workspace {
    cache: PathBuf,
    folder: PathBuf,
    /// Held as long as the job is in progress.
    _lock: File,
}

impl Workspace {
    /// Creates the folder of the attempt at `url` below the node's folder `cache`, and removes those
    /// whose trainers are gone.
    pub(super) fn create(cache: &Path, url: &Url) -> anyhow::Result<Self> {
        Self::create_in(cache, attempt(url)?).with_context(|| {
            format!("can't use {} (--cache, on the server --cluster-cache)", cache.display())
        })
    }

    fn create_in(cache: &Path, attempt: &str) -> io::Result<Self> {
        // Its images are not for everyone, and whoever could write into it could swap them.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(cache)?;
        let owner = fs::metadata(cache)?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("it belongs to user {owner}; choose a folder of this user's"),
            ));
        }
        for folder in ["attempts", "blobs", "tmp", "decoded", "weights"] {
            fs::create_dir_all(cache.join(folder))?;
        }
        let cache = cache.canonicalize()?;
        // So that nobody takes a folder without its lock for one that was left.
        let all = lock(&cache)?;
        clean(&cache);
        let folder = cache.join("attempts").join(attempt);
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join(LOCK))?;
        lock.try_lock().map_err(|_| io::Error::other("another process trains for this attempt"))?;
        drop(all);
        Ok(Self { cache, folder, _lock: lock })
    }

    /// The job's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The images of all jobs on this node.
    pub(super) fn blobs(&self) -> Blobs {
        Blobs::new(self.cache.join("blobs"), self.cache.join("tmp"))
    }

    /// The folder of the images of all jobs on this node, encoded.
    pub(super) fn images(&self) -> PathBuf {
        self.cache.join("blobs")
    }

    /// The folder of the decoded images of all jobs on this node.
    pub(super) fn decoded(&self) -> PathBuf {
        self.cache.join("decoded")
    }

    /// The folder of the weights of all jobs on this node.
    pub(super) fn weights(&self) -> PathBuf {
        self.cache.join("weights")
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _all = lock(&self.cache);
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "can't remove the job's folder");
        }
    }
}

/// The folder of the attempt at `url`, below the node's folder.
pub(super) fn folder(cache: &Path, url: &Url) -> anyhow::Result<PathBuf> {
    Ok(cache.join("attempts").join(attempt(url)?))
}

fn attempt(url: &Url) -> anyhow::Result<&str> {
    let parts = url.path_segments().and_then(|parts| parts.rev().find(|part| !part.is_empty()));
    parts.context("the URL names no attempt")
}

/// Notes that a file of the cache is used.
pub(super) fn used(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let now = SystemTime::now();
    let modified = file.metadata()?.modified()?;
    if now.duration_since(modified).is_ok_and(|age| age > USED_WITHIN) {
        file.set_modified(now)?;
    }
    Ok(())
}

/// Held while a folder of a job is created or removed.
fn lock(cache: &Path) -> io::Result<File> {
    let lock = File::create(cache.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

/// Removes what nobody needs. What can't be removed is left.
fn clean(cache: &Path) {
    let report = |what: &str, error: io::Error| {
        tracing::warn!(folder = %cache.display(), %error, "can't clean {what}");
    };
    for entry in fs::read_dir(cache.join("attempts")).into_iter().flatten().flatten() {
        let path = entry.path();
        let lock = File::open(path.join(LOCK));
        let is_used = lock.is_ok_and(|lock| lock.try_lock().is_err());
        if !is_used && let Err(error) = fs::remove_dir_all(&path) {
            report("jobs that were left", error);
        }
    }
    for (folder, unused) in [("blobs", MAX_UNUSED), ("weights", MAX_UNUSED), ("tmp", USED_WITHIN)] {
        if let Err(error) = remove_unused(&cache.join(folder), unused) {
            report(folder, error);
        }
    }
    if let Err(error) = evict_unused(&cache.join("decoded")) {
        report("decoded images", error);
    }
}

fn remove_unused(folder: &Path, unused: Duration) -> io::Result<()> {
    let now = SystemTime::now();
    for entry in walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok) {
        if !entry.file_type().is_file() {
            continue;
        }
        let modified = entry.metadata().ok().and_then(|metadata| metadata.modified().ok());
        let age = modified.and_then(|modified| now.duration_since(modified).ok());
        if age.is_some_and(|age| age > unused) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_once_nobody_works_in_it() {
        let cache = tempfile::tempdir().unwrap();
        let attempts = || fs::read_dir(cache.path().join("attempts")).unwrap().count();
        let first = Workspace::create_in(cache.path(), "first").unwrap();
        let left = cache.path().join("attempts/left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("lock"), "").unwrap();
        let second = Workspace::create_in(cache.path(), "second").unwrap();
        assert!(!left.exists());
        assert_eq!(attempts(), 2);
        drop(first);
        drop(second);
        assert_eq!(attempts(), 0);
    }

    #[test]
    fn what_no_job_has_used_for_long_is_removed() {
        let cache = tempfile::tempdir().unwrap();
        drop(Workspace::create_in(cache.path(), "first").unwrap());
        let [old, new] = ["old", "new"].map(|name| cache.path().join("weights").join(name));
        for path in [&old, &new] {
            fs::write(path, "x").unwrap();
            let long_ago = SystemTime::now() - MAX_UNUSED - Duration::from_secs(60);
            File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
        }
        used(&new).unwrap();
        drop(Workspace::create_in(cache.path(), "second").unwrap());
        assert!(!old.exists() && new.exists());
    }
}
