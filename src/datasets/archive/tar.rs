//! Reads tar, entry by entry, from a stream.
//!
//! Long names (GNU's and pax's) are read here rather than by the tar crate, which would take one
//! of any size into memory.

use std::io::{self, Read};

use ::tar::{Archive, EntryType, Header, PaxExtensions};

use super::{ArchiveError, Kind, Sink, Stop, meter::Metered};

/// More than any header that carries a name and attributes of a file.
const MAX_EXTENSION: u64 = 1 << 20;

/// Whether `head` is the first block of a tar: its checksum fits, or it is the end already.
pub(super) fn is_header(head: &[u8]) -> bool {
    let Some(block) = head.get(..512) else { return false };
    if block.iter().all(|&byte| byte == 0) {
        return true;
    }
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum();
    Header::from_byte_slice(block).cksum().is_ok_and(|claimed| claimed == sum + 8 * 32)
}

pub(super) fn read(stream: impl Read, sink: &mut Sink) -> Result<(), Stop> {
    let mut archive = Archive::new(sink.meter.around(stream));
    entries(&mut archive, sink)?;
    let mut stream = archive.into_inner();
    // What follows the end is padding; of a gzip, also the checksum over all of it.
    io::copy(&mut stream, &mut io::sink()).map_err(|error| damaged(sink, &error))?;
    if stream.trailing_zeros() < 512 {
        return Err(ArchiveError::Damaged("its end mark is missing".to_owned()).into());
    }
    Ok(())
}

fn entries<R: Read>(archive: &mut Archive<Metered<R>>, sink: &mut Sink) -> Result<(), Stop> {
    let mut long_name = None;
    for entry in archive.entries().map_err(Stop::Disk)?.raw(true) {
        let mut entry = entry.map_err(|error| damaged(sink, &error))?;
        let kind = match entry.header().entry_type() {
            EntryType::GNULongName => {
                let mut name = extension(&mut entry, sink)?;
                name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
                long_name = Some(name);
                continue;
            }
            EntryType::XHeader => {
                long_name = pax_name(&extension(&mut entry, sink)?)?.or(long_name);
                continue;
            }
            EntryType::GNULongLink | EntryType::XGlobalHeader => continue,
            EntryType::Directory => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            _ => Kind::Link,
        };
        let path = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let path = String::from_utf8_lossy(&path);
        let size = entry.size();
        if let Some((name, place)) = sink.meet(&path, kind, size)? {
            let mut body = Counted { inner: &mut entry, count: 0 };
            sink.take(name, place, size, &mut body)?.map_err(|error| damaged(sink, &error))?;
            if body.count < size {
                return Err(ArchiveError::Damaged("it ends within a file".to_owned()).into());
            }
        }
    }
    Ok(())
}

/// The data of an entry that describes the next one.
fn extension(entry: &mut impl Read, sink: &Sink) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    entry.take(MAX_EXTENSION + 1).read_to_end(&mut bytes).map_err(|error| damaged(sink, &error))?;
    if bytes.len() as u64 > MAX_EXTENSION {
        return Err(
            ArchiveError::Damaged("a header is larger than any should be".to_owned()).into()
        );
    }
    Ok(bytes)
}

fn pax_name(records: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
    let mut name = None;
    for record in PaxExtensions::new(records) {
        let record = record.map_err(|error| ArchiveError::Damaged(error.to_string()))?;
        if record.key_bytes() == b"path" {
            name = Some(record.value_bytes().to_vec());
        }
    }
    Ok(name)
}

fn damaged(sink: &Sink, error: &io::Error) -> Stop {
    if sink.meter.is_exhausted() {
        return ArchiveError::Unpacked { max: sink.limits().max_unpacked_bytes }.into();
    }
    ArchiveError::Damaged(error.to_string()).into()
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}
