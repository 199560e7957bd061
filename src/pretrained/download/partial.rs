//! A partial file, and the record of its origin.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::DownloadError;

/// A partial file.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    origin_path: PathBuf,
}

/// Which version of which file a partial file is a part of.
#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    url: String,
    /// The version: a strong entity tag, as `If-Range` takes it.
    version: String,
}

/// Where to resume.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResumePoint {
    /// Bytes received so far.
    pub(super) length: u64,
    /// The version of these bytes.
    pub(super) version: String,
}

impl Partial {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), origin_path: path.with_added_extension("origin") }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes received so far.
    pub(super) fn length(&self) -> Option<u64> {
        fs::metadata(&self.path).ok().map(|metadata| metadata.len())
    }

    /// Where to resume the file at `url`, if there is a part of it and its version is known.
    pub(super) fn resume_point(&self, url: &str) -> Option<ResumePoint> {
        let length = self.length().filter(|&length| length > 0)?;
        let origin: Origin = serde_json::from_slice(&fs::read(&self.origin_path).ok()?).ok()?;
        (origin.url == url).then_some(ResumePoint { length, version: origin.version })
    }

    /// An empty file, to be filled with `version` of the file at `url`.
    pub(super) fn begin(&self, url: &str, version: Option<&str>) -> io::Result<File> {
        // In this order, because a process may be killed between any two of them: bytes must never
        // be taken for another version.
        remove(&self.origin_path)?;
        let file = File::create(&self.path)?;
        if let Some(version) = version {
            let origin = Origin { url: url.to_owned(), version: version.to_owned() };
            fs::write(&self.origin_path, serde_json::to_vec(&origin)?)?;
        }
        Ok(file)
    }

    /// The file, opened for appending.
    pub(super) fn resume(&self) -> io::Result<File> {
        File::options().append(true).open(&self.path)
    }

    /// The file is complete: its origin no longer matters.
    pub(super) fn complete(&self) {
        // One too many does no harm.
        let _ = fs::remove_file(&self.origin_path);
    }

    /// Removes a file that can't be resumed.
    pub(super) fn discard(&self) {
        let _ = fs::remove_file(&self.origin_path);
        // A remaining one has no origin, so the next call starts again.
        let _ = fs::remove_file(&self.path);
    }

    /// For `map_err`: the system's error.
    pub(super) fn io(&self) -> impl Fn(io::Error) -> DownloadError + use<> {
        let path = self.path.clone();
        move |reason| DownloadError::Io { path: path.clone(), reason }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
