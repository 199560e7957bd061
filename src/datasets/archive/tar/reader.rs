//! Entries of a tar, one after the other: old, ustar, GNU and pax headers, several tars in a row.
//!
//! The blocks are not read by the tar crate, which would read a name of any size into memory, stops
//! at the first end mark, and does not support pax sizes of sparse files.

use std::io::{self, Read};

use ::tar::{GnuExtSparseHeader, Header};

use super::{
    super::meter::Meter,
    parse::damaged,
    pax::{Pax, Sparse},
    sparse::{self, Chunk},
};

const BLOCK: u64 = 512;
/// More than any header that carries a name and attributes of a file.
const MAX_EXTENSION: u64 = 1 << 20;

/// Bytes of a tar, some of which can be skipped.
pub(in crate::datasets::archive) trait Source: Read {
    /// Skips that many bytes.
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.take(bytes), &mut io::sink())?;
        if passed < bytes { Err(damaged("ends in the middle of a file")) } else { Ok(()) }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// A hard link to the entry of that path.
    HardLink(Vec<u8>),
    /// A symbolic link, a device, a pipe.
    Other,
}

/// An entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Bytes of the file.
    pub(super) size: u64,
    /// Positions in the file of the data in the archive.
    map: Vec<Chunk>,
}

/// Reads entries.
#[derive(Debug)]
pub(super) struct Reader<S> {
    source: S,
    meter: Meter,
    /// Remaining bytes of the entry's data, and of its padding to a block.
    left: u64,
    padding: u64,
    /// Whether an end mark was the last thing read.
    ended: bool,
}

/// The headers before an entry.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Pax,
}

/// Whether `block` is a header: its checksum fits, the sum of its bytes with or without a sign.
pub(super) fn is_header(block: &[u8; BLOCK as usize]) -> bool {
    let rest = || block[..148].iter().chain(&block[156..]);
    let unsigned: u32 = rest().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    let signed: i32 = rest().map(|&byte| i32::from(byte.cast_signed())).sum::<i32>() + 8 * 32;
    let claimed = Header::from_byte_slice(block).cksum();
    claimed.is_ok_and(|claimed| claimed == unsigned || i64::from(claimed) == i64::from(signed))
}

impl<S: Source> Reader<S> {
    /// Reads `source`; `meter` counts the holes of sparse files.
    pub(super) fn new(source: S, meter: Meter) -> Self {
        Self { source, meter, left: 0, padding: 0, ended: false }
    }

    /// The next entry; the rest of the previous one is skipped.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            let rest = self.left.checked_add(self.padding);
            self.source.skip(rest.ok_or_else(|| damaged("ends in the middle of a file"))?)?;
            (self.left, self.padding) = (0, 0);
            let Some(block) = self.block()? else { return Ok(None) };
            let header = Header::from_byte_slice(&block);
            let size = header.entry_size();
            match header.as_bytes()[156] {
                b'x' | b'X' => {
                    let records = self.extension(size?)?;
                    extensions.pax =
                        Pax::parse(&records).ok_or_else(|| damaged("damaged pax header"))?;
                }
                b'L' => extensions.path = Some(text(self.extension(size?)?)),
                b'K' => extensions.link = Some(text(self.extension(size?)?)),
                // Records for all entries that follow, the name of the volume, names of old GNU
                // tars, rights: not needed for images. The size of a volume is often blank.
                b'g' | b'V' | b'N' | b'A' => self.begin(size.unwrap_or(0)),
                kind => return self.entry(header, kind, extensions).map(Some),
            }
        }
    }

    /// The data of the entry that was read last.
    pub(super) fn body<'a>(&'a mut self, entry: &'a Entry) -> Body<'a, S> {
        Body { reader: self, size: entry.size, map: &entry.map, position: 0 }
    }

    /// The next header; `None` at the end. Between two tars there are end marks.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK as usize]>> {
        loop {
            let mut block = [0; BLOCK as usize];
            let read = fill(&mut self.source, &mut block)?;
            let is_zero = block.iter().all(|&byte| byte == 0);
            if read < block.len() {
                return match (self.ended && is_zero, read) {
                    (true, _) => Ok(None),
                    (false, 0) => Err(damaged("no end-of-archive marker")),
                    (false, _) => Err(damaged("ends in the middle of a header")),
                };
            }
            if is_zero {
                self.ended = true;
                continue;
            }
            if !is_header(&block) {
                return Err(damaged(if self.ended {
                    "unexpected data after the end of the archive"
                } else {
                    "damaged header"
                }));
            }
            self.ended = false;
            return Ok(Some(block));
        }
    }

    /// Records that data of `size` bytes follow.
    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK;
    }

    fn entry(&mut self, header: &Header, kind: u8, extensions: Extensions) -> io::Result<Entry> {
        let Extensions { path, link, pax } = extensions;
        let path = pax.path.or(path).unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match kind {
            b'1' => {
                let link = pax.link.or(link);
                let link = link.or_else(|| header.link_name_bytes().map(Into::into));
                Kind::HardLink(link.unwrap_or_default())
            }
            b'5' | b'D' => Kind::Folder,
            // Before ustar, a folder was a file whose name ends in a slash.
            b'0' | b'\0' | b'7' if path.ends_with(b"/") => Kind::Folder,
            b'0' | b'\0' | b'7' | b'S' => Kind::File,
            _ => Kind::Other,
        };
        // Links, devices and folders have no data, whatever size they declare.
        if matches!(header.as_bytes()[156], b'1'..=b'6') {
            return Ok(Entry { path, kind, size: 0, map: Vec::new() });
        }
        let stored = pax.size.map_or_else(|| header.entry_size(), Ok)?;
        if header.as_bytes()[156] == b'S' {
            let (size, map) = self.gnu_map(header)?;
            self.begin(stored);
            return self.sparse(path, size, map);
        }
        self.begin(stored);
        if let Some(Sparse { real_size, mut map, map_in_data }) = pax.sparse {
            if map_in_data {
                let bytes;
                (map, bytes) = sparse::map_in_data(&mut self.source, stored)?;
                self.left -= bytes;
            }
            return self.sparse(path, real_size.unwrap_or(stored), map);
        }
        let map = vec![Chunk { offset: 0, length: stored }];
        Ok(Entry { path, kind, size: stored, map })
    }

    fn sparse(&mut self, path: Vec<u8>, size: u64, map: Vec<Chunk>) -> io::Result<Entry> {
        if !sparse::is_sound(&map, size, self.left) {
            return Err(damaged("damaged map of a sparse file"));
        }
        Ok(Entry { path, kind: Kind::File, size, map })
    }

    /// Size and map of a sparse file in GNU's own format: in the header, and in blocks after it.
    fn gnu_map(&mut self, header: &Header) -> io::Result<(u64, Vec<Chunk>)> {
        let gnu = header.as_gnu().ok_or_else(|| damaged("unexpected header of a sparse file"))?;
        let mut map = Vec::new();
        let mut add = |chunks: &[::tar::GnuSparseHeader]| -> io::Result<()> {
            for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                map.push(Chunk { offset: chunk.offset()?, length: chunk.length()? });
            }
            Ok(())
        };
        add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        let mut blocks = 0;
        while more {
            blocks += 1;
            if blocks > MAX_EXTENSION / BLOCK {
                return Err(damaged("too many pieces in a sparse file"));
            }
            let mut block = GnuExtSparseHeader::new();
            self.source.read_exact(block.as_mut_bytes())?;
            add(&block.sparse)?;
            more = block.is_extended();
        }
        Ok((gnu.real_size()?, map))
    }

    /// The data of a header that describes the next entry.
    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(damaged("header too large"));
        }
        self.begin(size);
        let mut bytes = Vec::new();
        let read = (&mut self.source).take(size).read_to_end(&mut bytes)?;
        self.left -= read as u64;
        if self.left > 0 {
            return Err(damaged("ends in the middle of a header"));
        }
        Ok(bytes)
    }
}

/// A name up to its first zero.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// Reads until `buffer` is full or the end is reached; returns the number of bytes.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The data of an entry, holes included.
#[derive(Debug)]
pub(super) struct Body<'a, S> {
    reader: &'a mut Reader<S>,
    size: u64,
    map: &'a [Chunk],
    position: u64,
}

impl<S: Source> Read for Body<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let [chunk, rest @ ..] = self.map
            && self.position >= chunk.offset + chunk.length
        {
            self.map = rest;
        }
        let next = self.map.first().copied();
        // None within a piece.
        let hole = next.map_or(self.size, |chunk| chunk.offset).saturating_sub(self.position);
        let room = |bytes: u64| bytes.min(buffer.len() as u64);
        if hole > 0 {
            let zeros = room(hole);
            self.reader.meter.count(zeros)?;
            buffer[..usize::try_from(zeros).unwrap_or(0)].fill(0);
            self.position += zeros;
            return Ok(usize::try_from(zeros).unwrap_or(0));
        }
        let Some(chunk) = next else { return Ok(0) };
        let wanted = room(chunk.offset + chunk.length - self.position);
        let wanted = usize::try_from(wanted).unwrap_or(buffer.len());
        let read = self.reader.source.read(&mut buffer[..wanted])?;
        if read == 0 && wanted > 0 {
            return Err(damaged("ends in the middle of a file"));
        }
        self.reader.left -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}
