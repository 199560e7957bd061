//! Reads zip by its central directory, one entry at a time: archives that were written as a
//! stream have the sizes of their entries there alone.
//!
//! The crate's stable reader takes the whole directory into memory, some hundred megabytes for an
//! archive of 500,000 photos; its iterator does not. That one is marked as unstable, which the
//! lock file takes care of.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
};

use ::zip::{
    CompressionMethod, ZipReadOptions,
    read::{Config, ZipFileEntry},
    result::ZipError,
    unstable::read::ZipIterable,
};
use memchr::memmem;

use super::{
    ArchiveError, ReadError,
    sink::{Kind, Sink},
};
use crate::datasets::{layout::Layout, report::Rejection};

/// Name of one volume of a split zip.
pub(super) const ONE_OF_MANY: &str = "one volume of a split zip";

/// The record at the end of a zip with the position of its directory, without the comment.
const END: usize = 22;
/// Most bytes of a zip's comment, which follows that record.
const MAX_COMMENT: u64 = 65_535;

type Directory = ZipIterable<BufReader<File>>;

fn open(mut file: File) -> Result<Directory, ReadError> {
    check_end(&mut file)?;
    ZipIterable::try_new(BufReader::new(file), Config::default()).map_err(damaged)
}

/// Checks the end of the file, for better messages than those of the crate.
fn check_end(file: &mut File) -> Result<(), ReadError> {
    let mut begin = [0; 2];
    let read = file.read(&mut begin).map_err(ReadError::Disk)?;
    let size = file.seek(SeekFrom::End(0)).map_err(ReadError::Disk)?;
    let tail = size.min(MAX_COMMENT + END as u64);
    file.seek(SeekFrom::Start(size - tail)).map_err(ReadError::Disk)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(ReadError::Disk)?;
    let end = memmem::rfind(&bytes, b"PK\x05\x06").and_then(|at| bytes[at..].first_chunk::<END>());
    match end {
        // The number of this volume; all ones if zip64 has it.
        Some(&[_, _, _, _, low, high, ..]) if !matches!((low, high), (0, 0) | (0xFF, 0xFF)) => {
            Err(ArchiveError::NotAnArchive(ONE_OF_MANY).into())
        }
        // Data before the zip that its end describes, such as another zip.
        Some(end) if begin == *b"PK" && has_prefix(end, size, &bytes) => {
            let why = "several archives in one file; upload them one by one";
            Err(ArchiveError::Damaged(why.to_owned()).into())
        }
        Some(_) => Ok(()),
        None if read == 2 && begin == *b"MZ" => {
            Err(ArchiveError::NotAnArchive("program without a zip inside").into())
        }
        None => {
            let why = "the directory at its end is missing; upload it again, with all volumes of a split zip joined";
            Err(ArchiveError::Damaged(why.to_owned()).into())
        }
    }
}

/// Whether the archive does not begin where its `end`, in the last bytes `tail`, says.
fn has_prefix(end: &[u8; END], size: u64, tail: &[u8]) -> bool {
    let number = |at: usize| end[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let (length, offset) = (number(12), number(16));
    let behind = memmem::rfind(tail, b"PK\x05\x06").map_or(0, |at| tail.len() - at);
    let end_at = size - behind as u64;
    let before = &tail[..tail.len() - behind];
    let is_zip64 =
        before.len().checked_sub(20).is_some_and(|at| before[at..].starts_with(b"PK\x06\x07"));
    !is_zip64 && u64::from(length) + u64::from(offset) < end_at
}

/// Records the names of the archive in `layout`, up to `max` entries. The second pass reports
/// damage.
pub(super) fn survey(file: File, max: u64, layout: &mut Layout) {
    let Ok(mut archive) = open(file) else { return };
    let Ok(files) = archive.files() else { return };
    for entry in files.take(usize::try_from(max).unwrap_or(usize::MAX)) {
        let Ok(entry) = entry else { return };
        if !entry.is_dir() && !is_special(entry.unix_mode()) {
            layout.observe(&path(&entry));
        }
    }
}

/// Passes the files of the archive, which both `directory` and `body` have open, to `sink`.
pub(super) fn read(directory: File, body: File, sink: &mut Sink) -> Result<(), ReadError> {
    let mut archive = open(directory)?;
    let max = sink.limits().max_archive_entries;
    if archive.len() as u64 > max {
        return Err(ArchiveError::TooManyEntries { max }.into());
    }
    let mut body = BufReader::with_capacity(1 << 16, body);
    for entry in archive.files().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let path = path(&entry);
        let kind = if entry.is_dir() {
            Kind::Folder
        } else if is_special(entry.unix_mode()) {
            Rejection::Link.into()
        } else if entry.encrypted() {
            Rejection::Encrypted.into()
        } else if let Some(method) = unsupported(entry.compression()) {
            Rejection::Packing { method }.into()
        } else {
            Kind::File
        };
        let size = entry.size();
        let Some((name, assignment)) = sink.admit(&path, kind, size)? else { continue };
        let contents = match entry.with_reader(&mut body, ZipReadOptions::new()) {
            Ok(contents) => sink.meter().clone().wrap(contents),
            Err(error) => {
                sink.reject(name, Rejection::Unpack(error.to_string()))?;
                continue;
            }
        };
        let shown = name.clone();
        if let Err(error) = sink.read_file(name, assignment, size, contents)? {
            sink.reject(shown, Rejection::Unpack(error.to_string()))?;
        }
    }
    Ok(())
}

/// An entry's path. Without the UTF-8 flag it should be code page 437, but many programs write
/// UTF-8 anyway, and hardly any text of that code page is valid UTF-8 by chance.
fn path(entry: &ZipFileEntry) -> String {
    match str::from_utf8(entry.name_raw()) {
        Ok(name) => name.to_owned(),
        Err(_) => {
            let name = match entry.name() {
                Ok(name) => name.into_owned(),
                Err(_) => String::from_utf8_lossy(entry.name_raw()).into_owned(),
            };
            // In Shift-JIS and similar encodings, the byte of a backslash is often half of a
            // character.
            if name.contains('/') { name.replace('\\', "_") } else { name }
        }
    }
}

/// A link, a device, a pipe: anything whose Unix type is not a regular file.
fn is_special(mode: Option<u32>) -> bool {
    const TYPE: u32 = 0o170_000;
    const FILE: u32 = 0o100_000;
    mode.is_some_and(|mode| !matches!(mode & TYPE, 0 | FILE))
}

/// The name of an unsupported method.
fn unsupported(method: CompressionMethod) -> Option<String> {
    #[expect(deprecated, reason = "there is no other way to learn the number")]
    let CompressionMethod::Unsupported(number) = method else { return None };
    let name = match number {
        1 => "Shrink",
        2..=5 => "Reduce",
        6 | 10 => "Implode",
        94 => "MP3",
        96 => "JPEG recompression",
        97 => "WavPack",
        98 => "PPMd",
        _ => return Some(format!("method {number}")),
    };
    Some(name.to_owned())
}

fn damaged(error: ZipError) -> ReadError {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            ReadError::Disk(error)
        }
        error => ArchiveError::Damaged(error.to_string()).into(),
    }
}
