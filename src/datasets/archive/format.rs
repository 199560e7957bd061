//! Detects archive formats by their first bytes.

use std::io::Read as _;

use super::{ArchiveError, gzip::Gunzip, tar};

/// The format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// zip, possibly after a program that unpacks it.
    Zip,
    /// tar.
    Tar,
    /// tar, compressed with gzip.
    TarGz,
}

/// Bytes of an archive's head that identify its format.
pub const HEAD: usize = 1 << 16;

/// The format of the archive that begins with `head`: its first [`HEAD`] bytes, or all of it.
///
/// # Errors
/// It is not an archive, or a damaged one.
pub fn recognise(head: &[u8]) -> Result<Format, ArchiveError> {
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") || head.starts_with(b"MZ")
    {
        return Ok(Format::Zip);
    }
    if tar::is_header(head) {
        return Ok(Format::Tar);
    }
    if !head.starts_with(b"\x1F\x8B") {
        return Err(ArchiveError::NotAnArchive(name_of_other(head)));
    }
    let mut inner = Vec::with_capacity(512);
    let read = Gunzip::new(head).take(512).read_to_end(&mut inner);
    match read {
        _ if tar::is_header(&inner) => Ok(Format::TarGz),
        Err(error) => Err(ArchiveError::Damaged(error.to_string())),
        Ok(_) => Err(ArchiveError::NotAnArchive("gzip without a tar inside")),
    }
}

fn name_of_other(head: &[u8]) -> &'static str {
    const MAGIC: [(&[u8], &str); 9] = [
        (b"PK\x07\x08", super::zip::ONE_OF_MANY),
        (b"PK00PK", super::zip::ONE_OF_MANY),
        (b"Rar!", "RAR archive"),
        (b"7z\xBC\xAF\x27\x1C", "7z archive"),
        (b"BZh", "bzip2"),
        (b"\xFD7zXZ", "xz"),
        (b"\x28\xB5\x2F\xFD", "zstd"),
        (b"\xFF\xD8\xFF", "JPEG image"),
        (b"\x89PNG", "PNG image"),
    ];
    if head.is_empty() {
        return "empty body";
    }
    let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    known.map_or("unknown format", |(_, name)| name)
}
