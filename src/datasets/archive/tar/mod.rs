//! Reads tar, entry by entry, from a file or from a gzip stream.

mod links;
mod parse;
mod pax;
mod reader;
mod sparse;

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read},
};

use self::{
    links::{Key, Links},
    reader::{Body, Entry, Kind, Reader, Source},
};
use super::{
    ArchiveError, ReadError,
    gzip::Gunzip,
    meter::{Meter, Metered},
    sink::{self, Sink},
};
use crate::datasets::{layout::Layout, report::Rejection};

const BUFFER: usize = 1 << 16;

/// Whether `head` is the first block of a tar, or its end already.
pub(super) fn is_header(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk() else { return false };
    block.iter().all(|&byte| byte == 0) || reader::is_header(block)
}

/// An uncompressed tar: data that isn't needed is not read.
#[derive(Debug)]
pub(super) struct Plain {
    file: BufReader<File>,
    left: u64,
}

impl Plain {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let left = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(BUFFER, file), left })
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Source for Plain {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| parse::damaged("ends in the middle of a file"))?;
        self.file.seek_relative(i64::try_from(bytes).map_err(io::Error::other)?)
    }
}

impl<S: Source> Source for Metered<S> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.inner().skip(bytes)
    }
}

/// A gzip stream; all of its unpacked bytes are counted.
#[derive(Debug)]
pub(super) struct Gzipped(Metered<Gunzip<BufReader<File>>>);

impl Gzipped {
    pub(super) fn new(file: File, meter: &Meter) -> Self {
        Self(meter.wrap(Gunzip::new(BufReader::with_capacity(BUFFER, file))))
    }
}

impl Read for Gzipped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Source for Gzipped {}

/// The result of the first pass over a tar.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The files that hard links name.
    wanted: HashSet<Key>,
}

/// Records the names of the archive in `layout`, up to `max` entries. The second pass reports
/// damage.
pub(super) fn survey(source: impl Source, meter: Meter, max: u64, layout: &mut Layout) -> Survey {
    let mut reader = Reader::new(source, meter);
    let mut files = HashSet::new();
    let mut wanted = HashSet::new();
    for _ in 0..max {
        let Ok(Some(entry)) = reader.next() else { break };
        match &entry.kind {
            Kind::File => {}
            Kind::HardLink(target) if files.contains(&Key::of(target)) => {
                wanted.insert(Key::of(target));
            }
            _ => continue,
        }
        files.insert(Key::of(&entry.path));
        layout.observe(&String::from_utf8_lossy(&entry.path));
    }
    Survey { wanted }
}

/// Passes the files of the archive to `sink`.
pub(super) fn read(source: impl Source, survey: Survey, sink: &mut Sink) -> Result<(), ReadError> {
    let mut reader = Reader::new(source, sink.meter().clone());
    let mut links = Links::new(sink.tmp(), survey.wanted);
    while let Some(entry) = reader.next().map_err(|error| damaged(sink, &error))? {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        match &entry.kind {
            Kind::File => file(&path, &entry, reader.body(&entry), &mut links, sink)?,
            Kind::HardLink(target) => link(&path, &entry, target, &mut links, sink)?,
            Kind::Folder => drop(sink.admit(&path, sink::Kind::Folder, 0)?),
            Kind::Other => drop(sink.admit(&path, Rejection::Link.into(), 0)?),
        }
    }
    Ok(())
}

fn file(
    path: &str,
    entry: &Entry,
    mut body: Body<impl Source>,
    links: &mut Links,
    sink: &mut Sink,
) -> Result<(), ReadError> {
    let outcome = sink.admit(path, sink::Kind::File, entry.size)?;
    let key = Key::of(&entry.path);
    if !links.is_wanted(key) {
        let Some((name, assignment)) = outcome else { return Ok(()) };
        return sink
            .read_file(name, assignment, entry.size, body)?
            .map_err(|error| damaged(sink, &error));
    }
    if entry.size > sink.limits().max_image_bytes {
        links.record_oversized(key, entry.size);
        return Ok(());
    }
    let mut tee = links.tee(&mut body).map_err(ReadError::Disk)?;
    let read = match outcome {
        Some((name, assignment)) => sink.read_file(name, assignment, entry.size, &mut tee)?,
        None => io::copy(&mut tee, &mut io::sink()).map(drop),
    };
    read.map_err(|error| damaged(sink, &error))?;
    tee.finish(key).map_err(ReadError::Disk)
}

fn link(
    path: &str,
    entry: &Entry,
    target: &[u8],
    links: &mut Links,
    sink: &mut Sink,
) -> Result<(), ReadError> {
    let Some(stored) = links.get(Key::of(target)) else {
        let target = String::from_utf8_lossy(target).chars().take(255).collect();
        sink.admit(path, Rejection::DeadLink { target }.into(), 0)?;
        return Ok(());
    };
    links.alias(Key::of(&entry.path), stored);
    let Some((name, assignment)) = sink.admit(path, sink::Kind::File, stored.size)? else {
        return Ok(());
    };
    let meter = sink.meter().clone();
    let body = links.read(stored).map_err(ReadError::Disk)?;
    sink.read_file(name, assignment, stored.size, meter.wrap(body))?.map_err(ReadError::Disk)
}

fn damaged(sink: &Sink, error: &io::Error) -> ReadError {
    if sink.meter().is_exhausted() {
        return ArchiveError::Unpacked { max: sink.meter().limit() }.into();
    }
    ArchiveError::Damaged(error.to_string()).into()
}
