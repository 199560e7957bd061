//! Hard links: an entry without data that names an earlier one. The targets of links are found in
//! the first pass over the archive and kept aside in the second, whether they are added to the
//! dataset themselves or not.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::datasets::paths::components;

/// The key of a path, however it is written: 16 bytes of a hash over its components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

impl Key {
    pub(super) fn of(path: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        // Other names than UTF-8 must stay apart.
        match str::from_utf8(path) {
            Ok(path) => components(path).for_each(|name| {
                hasher.update(name);
                hasher.update(b"/");
            }),
            Err(_) => hasher.update(path),
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize()[..16]);
        Self(key)
    }
}

/// The files that links of one archive name.
#[derive(Debug)]
pub(super) struct Links {
    folder: PathBuf,
    wanted: HashSet<Key>,
    stored: HashMap<Key, StoredFile>,
    /// Their bytes, one after the other.
    file: Option<File>,
    end: u64,
}

/// A file that was kept for links to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredFile {
    start: u64,
    pub(super) size: u64,
}

impl Links {
    /// None yet; the files of `wanted` will be kept in a file without a name in `folder`.
    pub(super) fn new(folder: &Path, wanted: HashSet<Key>) -> Self {
        Self { folder: folder.to_owned(), wanted, stored: HashMap::new(), file: None, end: 0 }
    }

    pub(super) fn is_wanted(&self, key: Key) -> bool {
        self.wanted.contains(&key)
    }

    /// The file of that path, if it was an earlier entry.
    pub(super) fn get(&self, key: Key) -> Option<StoredFile> {
        self.stored.get(&key).copied()
    }

    /// Adds another path of a kept file.
    pub(super) fn alias(&mut self, key: Key, stored: StoredFile) {
        if self.is_wanted(key) {
            self.stored.insert(key, stored);
        }
    }

    /// Records a file that is too large for an image: links to it are rejected as too large.
    pub(super) fn record_oversized(&mut self, key: Key, size: u64) {
        self.stored.insert(key, StoredFile { start: self.end, size });
    }

    /// Reads `body` and keeps its bytes, for the file of that path.
    pub(super) fn tee<'a, R: Read>(&'a mut self, body: R) -> io::Result<TeeReader<'a, R>> {
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile_in(&self.folder)?);
        }
        Ok(TeeReader { start: self.end, links: self, body, failed: None })
    }

    /// The bytes of a file that is kept.
    pub(super) fn read(&mut self, stored: StoredFile) -> io::Result<impl Read> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(stored.start))?;
        Ok(file.take(stored.size))
    }
}

/// A file that is read and kept.
#[derive(Debug)]
pub(super) struct TeeReader<'a, R> {
    links: &'a mut Links,
    body: R,
    start: u64,
    /// An error of the disk, not of the archive.
    failed: Option<io::Error>,
}

impl<R> TeeReader<'_, R> {
    /// Marks it as complete: links to `key` find it.
    ///
    /// # Errors
    /// The disk failed.
    pub(super) fn finish(self, key: Key) -> io::Result<()> {
        let stored = StoredFile { start: self.start, size: self.links.end - self.start };
        self.links.stored.insert(key, stored);
        self.failed.map_or(Ok(()), Err)
    }
}

impl<R: Read> Read for TeeReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        let Some(file) = self.links.file.as_mut().filter(|_| self.failed.is_none()) else {
            return Ok(read);
        };
        let written = file
            .seek(SeekFrom::Start(self.links.end))
            .and_then(|_| file.write_all(&buffer[..read]));
        match written {
            Ok(()) => self.links.end += read as u64,
            Err(error) => self.failed = Some(error),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_has_one_key() {
        assert_eq!(Key::of(b"./a//b.jpg"), Key::of(b"a/b.jpg"));
        assert_ne!(Key::of(b"a/b.jpg"), Key::of(b"ab.jpg"));
        assert_ne!(Key::of(b"a/\xFF.jpg"), Key::of(b"a/\xFE.jpg"));
    }

    #[test]
    fn what_is_kept_is_read_again_in_any_order() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|path| Key::of(path));
        let mut links = Links::new(&std::env::temp_dir(), HashSet::from([a, b, c]));
        for (key, text) in [(a, "first"), (b, "second")] {
            let mut tee = links.tee(text.as_bytes()).unwrap();
            io::copy(&mut tee, &mut io::sink()).unwrap();
            tee.finish(key).unwrap();
        }
        let stored = links.get(b).unwrap();
        links.alias(c, stored);
        for (key, expected) in [(c, "second"), (a, "first"), (b, "second")] {
            let stored = links.get(key).unwrap();
            assert_eq!(io::read_to_string(links.read(stored).unwrap()).unwrap(), expected);
        }
    }
}
