//! Content-addressed store of encoded images: `blobs/ab/ab12…`, by SHA-256.
//!
//! Used by the server's datasets, and by trainers, which only read it. Called on threads that may
//! block.
//!
//! A blob is written under a temporary name, synced, then renamed: under its own name it is always
//! complete, and a complete one is never replaced. Rows point here, so blobs are durable before their
//! rows are committed; a sweep removes blobs without rows.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use memmap2::Mmap;
use tempfile::{NamedTempFile, TempPath};

use crate::domain::dataset::Digest;

/// Why a blob can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is missing, or its bytes are other than they were.
    #[error("the stored bytes of image {0} are damaged or missing")]
    Damaged(Digest),
    /// The file system refused.
    #[error("can't read or write {path}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    fn disk(path: &Path, source: io::Error) -> Self {
        Self::Disk { path: path.to_owned(), source }
    }
}

fn path(root: &Path, digest: &Digest) -> PathBuf {
    root.join(Blobs::name(digest))
}

/// The bytes of that hash in the store at `root`: also for trainers, which use nothing else of it.
///
/// # Errors
/// [`Error::Damaged`] if they are missing or have changed.
pub fn read(root: &Path, digest: &Digest) -> Result<Vec<u8>, Error> {
    let path = path(root, digest);
    match fs::read(&path) {
        Ok(bytes) if Digest::of(&bytes) == *digest => Ok(bytes),
        Ok(_) => Err(Error::Damaged(*digest)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Damaged(*digest)),
        Err(source) => Err(Error::disk(&path, source)),
    }
}

/// The store.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
    tmp: PathBuf,
}

impl Blobs {
    /// The store in `root`; new files begin in `tmp`, on the same file system.
    #[must_use]
    pub fn new(root: PathBuf, tmp: PathBuf) -> Self {
        Self { root, tmp }
    }

    /// The folder of temporary files.
    #[must_use]
    pub fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// The path of the bytes of that hash, whether they exist or not.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        path(&self.root, digest)
    }

    /// The bytes of that hash; see [`read`].
    ///
    /// # Errors
    /// [`Error::Damaged`] if they are missing or have changed.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        read(&self.root, digest)
    }

    /// As [`Blobs::read`], in memory that the system may take back meanwhile: for bytes that somebody
    /// holds for long.
    ///
    /// # Errors
    /// As [`read`].
    pub fn map(&self, digest: &Digest) -> Result<Bytes, Error> {
        let path = self.path(digest);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if is_not_found(&error) => return Err(Error::Damaged(*digest)),
            Err(source) => return Err(Error::disk(&path, source)),
        };
        // SAFETY: a blob is never written to again; one that is replaced or removed stays as it is
        // for whoever has it open.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| Error::disk(&path, source))?;
        let is_whole = Digest::of(&map) == *digest;
        if is_whole { Ok(Bytes::from_owner(map)) } else { Err(Error::Damaged(*digest)) }
    }

    /// The path of the blob of that hash, relative to the root of a store: `ab/ab12…`.
    #[must_use]
    pub fn name(digest: &Digest) -> String {
        let name = digest.to_string();
        format!("{}/{name}", &name[..2])
    }

    /// An empty temporary file beside the store, deleted with its handle.
    ///
    /// # Errors
    /// The file system refused.
    pub fn temporary(&self) -> Result<NamedTempFile, Error> {
        NamedTempFile::new_in(&self.tmp).map_err(|source| Error::disk(&self.tmp, source))
    }

    /// A temporary file of these bytes.
    ///
    /// # Errors
    /// The file system refused.
    pub fn write_temporary(&self, bytes: &[u8]) -> Result<TempPath, Error> {
        let mut file = self.temporary()?;
        file.write_all(bytes).map_err(|source| Error::disk(&self.tmp, source))?;
        Ok(file.into_temp_path())
    }

    /// Moves files to the names of their hashes and makes them durable, all at once: when this
    /// returns, they survive a power cut.
    ///
    /// An existing blob is kept unless its bytes are damaged: uploading an image again repairs it.
    ///
    /// # Errors
    /// The file system refused.
    pub fn put(&self, files: Vec<(Digest, TempPath)>) -> Result<(), Error> {
        // Also of existing ones: another upload may not have synced their names yet.
        let mut folders: BTreeSet<PathBuf> = files
            .iter()
            .filter_map(|(digest, _)| self.path(digest).parent().map(Path::to_owned))
            .collect();
        folders.insert(self.root.clone());
        let mut seen = HashSet::new();
        let files: Vec<_> = files
            .into_iter()
            .filter(|(digest, _)| seen.insert(*digest) && self.read(digest).is_err())
            .collect();
        // The bytes first: a rename that survives a power cut without them would leave an empty
        // blob.
        self.sync_files(&files)?;
        for (digest, file) in files {
            let path = self.path(&digest);
            let folder = path.parent().unwrap_or(&self.root).to_owned();
            fs::create_dir_all(&folder).map_err(|source| Error::disk(&folder, source))?;
            file.persist(&path).map_err(|error| Error::disk(&path, error.error))?;
        }
        folders.iter().try_for_each(|folder| sync(folder))
    }

    /// One call for the whole batch: 500 files synced one by one take seconds on a spinning disk.
    #[cfg(target_os = "linux")]
    fn sync_files(&self, files: &[(Digest, TempPath)]) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let failed = |source| Error::disk(&self.tmp, source);
        let tmp = fs::File::open(&self.tmp).map_err(failed)?;
        rustix::fs::syncfs(&tmp).map_err(|error| failed(error.into()))
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_files(&self, files: &[(Digest, TempPath)]) -> Result<(), Error> {
        files.iter().try_for_each(|(_, file)| sync(file))
    }

    /// Every blob of the store with its size, in no order. Other files are skipped.
    ///
    /// # Errors
    /// The file system refused.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, Error> {
        let mut blobs = Vec::new();
        for entry in walkdir::WalkDir::new(&self.root).min_depth(2).max_depth(2) {
            let entry = match entry {
                Ok(entry) => entry,
                // It was removed meanwhile.
                Err(error) if error.io_error().is_some_and(is_not_found) => continue,
                Err(error) => return Err(Error::disk(&self.root, error.into())),
            };
            let digest = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(digest) = digest {
                blobs.push((digest, entry.metadata().map_or(0, |metadata| metadata.len())));
            }
        }
        Ok(blobs)
    }

    /// Removes a blob; one that is already gone is not an error.
    ///
    /// # Errors
    /// The file system refused.
    pub fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(source) if !is_not_found(&source) => Err(Error::disk(&path, source)),
            _ => Ok(()),
        }
    }
}

fn is_not_found(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn sync(path: &Path) -> Result<(), Error> {
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| Error::disk(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Blobs) {
        let folder = tempfile::tempdir().unwrap();
        let (root, tmp) = (folder.path().join("blobs"), folder.path().join("tmp"));
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&tmp).unwrap();
        (folder, Blobs::new(root, tmp))
    }

    fn put(blobs: &Blobs, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        blobs.put(vec![(digest, blobs.write_temporary(bytes).unwrap())]).unwrap();
        digest
    }

    #[test]
    fn what_was_put_is_read_back_from_under_its_hash() {
        let (folder, blobs) = store();
        let digest = put(&blobs, b"meow");
        assert_eq!(blobs.read(&digest).unwrap(), b"meow");
        let name = digest.to_string();
        assert_eq!(blobs.path(&digest), folder.path().join("blobs").join(&name[..2]).join(&name));
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn damage_is_noticed_and_putting_it_again_repairs_it() {
        let (_folder, blobs) = store();
        let digest = put(&blobs, b"meow");
        fs::write(blobs.path(&digest), b"me0w").unwrap();
        assert!(matches!(blobs.read(&digest), Err(Error::Damaged(found)) if found == digest));
        put(&blobs, b"meow");
        assert!(blobs.read(&digest).is_ok());
        blobs.remove(&digest).unwrap();
        assert!(matches!(blobs.read(&digest), Err(Error::Damaged(_))));
        blobs.remove(&digest).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_whole_blob_is_never_replaced() {
        use std::os::unix::fs::MetadataExt as _;
        let (_folder, blobs) = store();
        let digest = put(&blobs, b"meow");
        let inode = || fs::metadata(blobs.path(&digest)).unwrap().ino();
        let first = inode();
        put(&blobs, b"meow");
        assert_eq!(inode(), first);
    }

    #[test]
    fn only_blobs_are_listed() {
        let (_folder, blobs) = store();
        let digest = put(&blobs, b"meow");
        fs::write(blobs.path(&digest).with_file_name("notes.txt"), "x").unwrap();
        assert_eq!(blobs.list().unwrap(), [(digest, 4)]);
    }
}
