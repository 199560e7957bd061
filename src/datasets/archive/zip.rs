//! Reads zip by its central directory, one entry at a time: archives that were written as a
//! stream have the sizes of their entries there alone.
//!
//! The crate's stable reader takes the whole directory into memory, some hundred megabytes for an
//! archive of 500,000 photos; its iterator does not. That one is marked as unstable, which the
//! lock file takes care of.

use std::{fs::File, io::BufReader};

use ::zip::{ZipReadOptions, read::Config, result::ZipError, unstable::read::ZipIterable};

use super::{ArchiveError, Kind, Sink, Stop};
use crate::datasets::report::Rejection;

/// Reads the archive that both `directory` and `body` are open on.
pub(super) fn read(directory: File, body: File, sink: &mut Sink) -> Result<(), Stop> {
    let directory = BufReader::new(directory);
    let mut archive = ZipIterable::try_new(directory, Config::default()).map_err(damaged)?;
    let max = sink.limits().max_archive_entries;
    if archive.len() as u64 > max {
        return Err(ArchiveError::TooManyEntries { max }.into());
    }
    let mut body = BufReader::with_capacity(1 << 16, body);
    for entry in archive.files().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let path = match entry.name() {
            Ok(name) => name.into_owned(),
            Err(_) => String::from_utf8_lossy(entry.name_raw()).into_owned(),
        };
        let kind = if entry.is_dir() {
            Kind::Folder
        } else if is_special(entry.unix_mode()) {
            Kind::Link
        } else if entry.encrypted() {
            Kind::Encrypted
        } else {
            Kind::File
        };
        let size = entry.size();
        let Some((name, place)) = sink.meet(&path, kind, size)? else { continue };
        let contents = match entry.with_reader(&mut body, ZipReadOptions::new()) {
            Ok(contents) => sink.meter.around(contents),
            Err(ZipError::UnsupportedArchive(_)) => {
                sink.reject(name, Rejection::Packing)?;
                continue;
            }
            Err(error) => {
                sink.reject(name, Rejection::Unpack(error.to_string()))?;
                continue;
            }
        };
        let shown = name.clone();
        if let Err(error) = sink.take(name, place, size, contents)? {
            sink.reject(shown, Rejection::Unpack(error.to_string()))?;
        }
    }
    Ok(())
}

/// A link, a device, a pipe: anything with a Unix type that is not a file's.
fn is_special(mode: Option<u32>) -> bool {
    const TYPE: u32 = 0o170_000;
    const FILE: u32 = 0o100_000;
    mode.is_some_and(|mode| !matches!(mode & TYPE, 0 | FILE))
}

fn damaged(error: ZipError) -> Stop {
    ArchiveError::Damaged(error.to_string()).into()
}
