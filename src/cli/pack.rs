//! A folder as a tar stream, made while it is sent: no temporary file, and a few hundred KiB of
//! memory however large the folder.
//!
//! A blocking thread reads and packs; a short bounded channel carries the chunks to the request,
//! so the disk is read only as fast as the server takes them. Names are relative to the folder,
//! and owners and times are left out: the same folder gives the same bytes.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Take, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    answers::Rejected,
    images::{Found, walk},
    progress::Transfer,
};

const CHUNK: usize = 128 * 1024;
const CHUNKS_WAITING: usize = 2;

/// The chunks of a tar; an error where packing could not go on.
pub(super) type Chunks = ReceiverStream<io::Result<Bytes>>;

/// Starts to pack the images of `folder`; the task ends with the files that could not be read.
pub(super) fn pack(
    folder: PathBuf,
    follow_links: bool,
    transfer: Arc<Transfer>,
) -> (Chunks, JoinHandle<io::Result<Vec<Rejected>>>) {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let packing = spawn_blocking(move || {
        let packed = pack_into(&folder, follow_links, Sender(sender.clone()), &transfer);
        if let Err(error) = &packed {
            // The request must break off: half a tar must not look like a whole one.
            let _ = sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
        transfer.sent();
        packed
    });
    (ReceiverStream::new(receiver), packing)
}

/// Whether packing ended only because nobody took the chunks any more.
pub(super) fn is_abandoned(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn pack_into(
    folder: &Path,
    follow_links: bool,
    writer: impl Write,
    transfer: &Transfer,
) -> io::Result<Vec<Rejected>> {
    let mut tar = tar::Builder::new(BufWriter::with_capacity(CHUNK, writer));
    let mut unreadable = Vec::new();
    for found in walk(folder, follow_links) {
        let (path, reason) = match found {
            Found::Other(_) | Found::Link(_) => continue,
            Found::Unreadable(path, reason) => (path, reason),
            Found::Image { path, .. } => match open(&path) {
                Ok((file, size)) => {
                    append(&mut tar, relative(&path, folder), file, size, transfer)?;
                    continue;
                }
                Err(error) => (path, error.to_string()),
            },
        };
        unreadable.push(Rejected {
            file: relative(&path, folder).display().to_string(),
            code: "unreadable".to_owned(),
            detail: reason,
        });
    }
    tar.into_inner()?.flush()?;
    Ok(unreadable)
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn relative<'a>(path: &'a Path, folder: &Path) -> &'a Path {
    path.strip_prefix(folder).unwrap_or(path)
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &Path,
    file: File,
    size: u64,
    transfer: &Transfer,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    let mut content = Counted { file: file.take(size), transfer };
    tar.append_data(&mut header, name, &mut content)?;
    // The header has promised `size` bytes; what follows would be read as a part of this file.
    if content.file.limit() > 0 {
        let message = format!("{} became shorter while it was read", name.display());
        return Err(io::Error::other(message));
    }
    Ok(())
}

/// A file that says how much of it was read.
struct Counted<'a> {
    file: Take<File>,
    transfer: &'a Transfer,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.transfer.advance(count as u64);
        Ok(count)
    }
}

/// Writes into the channel, and waits while it is full.
struct Sender(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::output::Output;

    fn packed(folder: &Path) -> (Vec<u8>, Vec<Rejected>) {
        let mut bytes = Vec::new();
        let transfer = Transfer::new(Output::new(true), 0);
        let unreadable = pack_into(folder, true, &mut bytes, &transfer).unwrap();
        (bytes, unreadable)
    }

    #[test]
    fn the_same_folder_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}.jpg", "x".repeat(150));
        fs::write(folder.path().join(&long), vec![7; 1_000]).unwrap();
        fs::write(folder.path().join("a.png"), "a").unwrap();
        let (bytes, unreadable) = packed(folder.path());
        assert!(unreadable.is_empty());
        assert_eq!(bytes, packed(folder.path()).0);
        let mut tar = tar::Archive::new(&*bytes);
        let names: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["a.png".to_owned(), long]);
    }

    #[test]
    fn a_file_that_cannot_be_read_does_not_stop_the_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jpg"), "a").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("b.jpg")).unwrap();
        let (bytes, unreadable) = packed(folder.path());
        assert_eq!(tar::Archive::new(&*bytes).entries().unwrap().count(), 1);
        assert_eq!(unreadable.len(), 1);
        assert_eq!((&*unreadable[0].file, &*unreadable[0].code), ("b.jpg", "unreadable"));
    }
}
