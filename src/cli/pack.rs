//! A folder as a tar stream, created while it is sent: no temporary file, and a few hundred KiB of
//! memory however large the folder.
//!
//! A blocking thread reads and packs; a short bounded channel carries the chunks to the request,
//! so the disk is read only as fast as the server takes them. Names are relative to the folder,
//! and owners and times are left out: the same folder gives the same bytes.
//!
//! Every entry of the folder is named, so that the server's report is the same as for an archive of
//! the same files. But of a file that is not an image, only the beginning is sent, as a sparse file
//! of the same size: that shows what the file is without sending a whole video.

use std::{
    ffi::OsStr,
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
    progress::Transfer,
    responses::Rejected,
    source::{Folder, HEAD, Item},
};

const CHUNK: usize = 128 * 1024;
const CHUNKS_WAITING: usize = 2;

/// The chunks of a tar; an error if packing failed.
pub(super) type Chunks = ReceiverStream<io::Result<Bytes>>;

/// Starts to pack `folder`; the task returns the files that could not be read. With `top`, all
/// entries are in a folder of that name.
pub(super) fn pack(
    folder: Folder,
    top: Option<PathBuf>,
    transfer: Arc<Transfer>,
) -> (Chunks, JoinHandle<io::Result<Vec<Rejected>>>) {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let packing = spawn_blocking(move || {
        let packed = pack_into(&folder, top.as_deref(), Sender(sender.clone()), &transfer);
        if let Err(error) = &packed {
            // The request must fail: half a tar must not look like a whole one.
            let _ = sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
        transfer.sent();
        packed
    });
    (ReceiverStream::new(receiver), packing)
}

/// Whether packing ended only because the chunks were no longer read.
pub(super) fn is_abandoned(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn pack_into(
    folder: &Folder,
    top: Option<&Path>,
    writer: impl Write,
    transfer: &Transfer,
) -> io::Result<Vec<Rejected>> {
    let mut tar = tar::Builder::new(BufWriter::with_capacity(CHUNK, writer));
    let mut unreadable = Vec::new();
    let name_of = |path: &Path| {
        let relative = folder.relative(path);
        top.map_or_else(|| relative.to_owned(), |top| top.join(relative))
    };
    for item in folder.items() {
        let (path, reason) = match item {
            Item::Unreadable(path, reason) => (path, reason),
            Item::Name(path) => {
                append_name(&mut tar, &name_of(&path), tar::EntryType::Regular)?;
                continue;
            }
            Item::Link(path) => {
                append_name(&mut tar, &name_of(&path), tar::EntryType::Symlink)?;
                continue;
            }
            Item::Whole(ref path, _) | Item::Head(ref path) => match open(path) {
                Ok((file, size)) => {
                    let sent = if matches!(item, Item::Head(_)) { size.min(HEAD) } else { size };
                    append(&mut tar, &name_of(path), file, Sizes { size, sent }, transfer)?;
                    continue;
                }
                Err(error) => (path.clone(), error.to_string()),
            },
        };
        unreadable.push(Rejected {
            file: name_of(&path).display().to_string(),
            code: "unreadable".to_owned(),
            detail: reason,
        });
    }
    tar.into_inner()?.flush()?;
    Ok(unreadable)
}

/// The name of the folder, if it names a split or a class: `train` of `photos/train`, or `cat`.
pub(super) fn own_name(folder: &Path, is_meaningful: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let own = folder.file_name().map(OsStr::to_owned);
    // `.` and `..` have names too.
    let own = own.or_else(|| folder.canonicalize().ok()?.file_name().map(OsStr::to_owned))?;
    is_meaningful(&own.to_string_lossy()).then(|| own.into())
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// An entry without data.
fn append_name(
    tar: &mut tar::Builder<impl Write>,
    name: &Path,
    kind: tar::EntryType,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, io::empty())
}

/// Bytes of a file, and how many of them are sent.
#[derive(Clone, Copy)]
struct Sizes {
    size: u64,
    sent: u64,
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &Path,
    file: File,
    Sizes { size, sent }: Sizes,
    transfer: &Transfer,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(sent);
    header.set_mode(0o644);
    if sent < size
        && let Some(gnu) = header.as_gnu_mut()
    {
        gnu.set_real_size(size);
        gnu.sparse[0].set_offset(0);
        gnu.sparse[0].set_length(sent);
        gnu.sparse[1].set_offset(size);
        gnu.sparse[1].set_length(0);
        header.set_entry_type(tar::EntryType::GNUSparse);
    }
    let mut content = ProgressReader { file: file.take(sent), transfer };
    tar.append_data(&mut header, name, &mut content)?;
    // The header declares this many bytes; what follows would be read as a part of this file.
    if content.file.limit() > 0 {
        let message = format!("{} was truncated while being read", name.display());
        return Err(io::Error::other(message));
    }
    Ok(())
}

/// A file that counts how much of it was read.
struct ProgressReader<'a> {
    file: Take<File>,
    transfer: &'a Transfer,
}

impl Read for ProgressReader<'_> {
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
    use crate::cli::{output::Output, source::Source};

    fn packed(folder: &Path, top: Option<&Path>) -> (Vec<u8>, Vec<Rejected>) {
        let Ok(Source::Folder(folder)) = Source::open(folder, true) else { unreachable!() };
        let mut bytes = Vec::new();
        let transfer = Transfer::new(Output::new(true), 0);
        let unreadable = pack_into(&folder, top, &mut bytes, &transfer).unwrap();
        (bytes, unreadable)
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut tar = tar::Archive::new(bytes);
        let entries = tar.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn the_same_folder_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}.jpg", "x".repeat(150));
        fs::write(folder.path().join(&long), vec![7; 1_000]).unwrap();
        fs::write(folder.path().join("a.png"), "a").unwrap();
        let (bytes, unreadable) = packed(folder.path(), None);
        assert!(unreadable.is_empty());
        assert_eq!(bytes, packed(folder.path(), None).0);
        assert_eq!(names(&bytes), ["a.png".to_owned(), long.clone()]);
        let (bytes, _) = packed(folder.path(), Some(Path::new("train")));
        assert_eq!(names(&bytes), ["train/a.png".to_owned(), format!("train/{long}")]);
    }

    #[test]
    fn a_large_file_that_is_no_image_keeps_its_size_and_not_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jpg"), "a").unwrap();
        fs::write(folder.path().join("b.mp4"), vec![b'x'; 1_000_000]).unwrap();
        let (bytes, _) = packed(folder.path(), None);
        assert!(bytes.len() < 20_000, "{}", bytes.len());
        let mut tar = tar::Archive::new(&*bytes);
        let entry = tar.entries().unwrap().nth(1).unwrap().unwrap();
        assert_eq!((entry.path().unwrap(), entry.size()), (Path::new("b.mp4").into(), 1_000_000));
    }

    #[test]
    fn a_file_that_cannot_be_read_does_not_stop_the_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jpg"), "a").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("b.jpg")).unwrap();
        let (bytes, unreadable) = packed(folder.path(), None);
        assert_eq!(names(&bytes), ["a.jpg"]);
        assert_eq!(unreadable.len(), 1);
        assert_eq!((&*unreadable[0].file, &*unreadable[0].code), ("b.jpg", "unreadable"));
    }

    #[test]
    fn the_folders_own_name_counts_where_it_says_something() {
        let is_meaningful = |name: &str| name == "train";
        assert_eq!(own_name(Path::new("photos/train/"), is_meaningful), Some("train".into()));
        assert_eq!(own_name(Path::new("train/photos"), is_meaningful), None);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("train/cat")).unwrap();
        assert_eq!(
            own_name(&folder.path().join("train/cat/.."), is_meaningful),
            Some("train".into())
        );
    }
}
