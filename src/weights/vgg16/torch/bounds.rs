//! Bounds on a `.pth` before it is read.

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
};

use zip::{CompressionMethod, read::Config, result::ZipError, unstable::read::ZipIterable};

/// Longest pickle, or pickles of the legacy form together. Those of a VGG16 have some 5 KB.
const MAX_PICKLE_BYTES: u64 = 256 << 10;
/// Entries of a zip archive. That of a VGG16 has 37.
const MAX_ENTRIES: usize = 1024;

/// How the legacy form begins: a pickle of the number 0x1950a86a20f9469cfc6c.
pub(in super::super) const LEGACY_MAGIC: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
/// The number above, the protocol's version, the system, the state dict, the keys of its storages.
const LEGACY_PICKLES: usize = 5;

/// Rejects an archive with a long pickle or directory, or with compressed entries: `torch.save`
/// writes none, and they may unpack to any size.
pub(super) fn check_zip(file: File) -> Result<(), String> {
    let zip_error = |error: ZipError| error.to_string();
    let mut archive =
        ZipIterable::try_new(BufReader::new(file), Config::default()).map_err(zip_error)?;
    if archive.len() > MAX_ENTRIES {
        return Err(format!("it has {} entries (limit {MAX_ENTRIES})", archive.len()));
    }
    for entry in archive.files().map_err(zip_error)? {
        let entry = entry.map_err(zip_error)?;
        if entry.compression() != CompressionMethod::Stored {
            return Err("it has compressed entries, which torch.save never writes".to_owned());
        }
        if entry.name_raw().ends_with(b"data.pkl") && entry.size() > MAX_PICKLE_BYTES {
            return Err(too_long());
        }
    }
    Ok(())
}

/// Position and content of a tar archive's magic.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// Rejects a legacy file with long pickles, and one that the reader would take for the tar archive
/// of PyTorch's first versions, whose pickles may be anywhere in it.
pub(super) fn check_legacy(file: File) -> io::Result<()> {
    let mut head = Vec::new();
    file.take(MAX_PICKLE_BYTES).read_to_end(&mut head)?;
    if head.get(TAR_MAGIC.0..).is_some_and(|rest| rest.starts_with(TAR_MAGIC.1)) {
        let reason = "tar-based `.pth` files are not supported";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut rest = head.as_slice();
    for _ in 0..LEGACY_PICKLES {
        rest = after_pickle(rest)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, too_long()))?;
    }
    Ok(())
}

fn too_long() -> String {
    format!("its pickle does not end within {MAX_PICKLE_BYTES} bytes")
}

/// The bytes after the pickle at the beginning of `bytes`; `None` if it does not end, or has an
/// instruction that the reader does not know.
fn after_pickle(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (&instruction, rest) = bytes.split_first()?;
        bytes = match instruction {
            b'.' => return Some(rest),
            b'('
            | b')'
            | b'0'
            | b'1'
            | b'2'
            | b'N'
            | b'Q'
            | b'R'
            | b']'
            | b'a'
            | b'b'
            | b'd'
            | b'e'
            | b'l'
            | b's'
            | b't'
            | b'u'
            | b'}'
            | 0x81
            | 0x85..=0x89
            | 0x8f..=0x94 => rest,
            b'K' | b'h' | b'q' | 0x80 => rest.get(1..)?,
            b'M' => rest.get(2..)?,
            b'J' | b'j' | b'r' => rest.get(4..)?,
            b'G' | 0x95 => rest.get(8..)?,
            b'F' | b'I' | b'L' | b'P' | b'V' | b'g' | b'p' => after_line(rest)?,
            b'c' => after_line(after_line(rest)?)?,
            b'C' | b'U' | 0x8a | 0x8c => after_counted::<1>(rest)?,
            b'B' | b'T' | b'X' | 0x8b => after_counted::<4>(rest)?,
            0x8d | 0x8e | 0x96 => after_counted::<8>(rest)?,
            _ => return None,
        };
    }
}

fn after_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    bytes.get(end + 1..)
}

/// The bytes after a string whose length precedes it, in `N` bytes.
fn after_counted<const N: usize>(bytes: &[u8]) -> Option<&[u8]> {
    let (count, rest) = bytes.split_first_chunk::<N>()?;
    let mut length = [0; 8];
    length[..N].copy_from_slice(count);
    rest.get(usize::try_from(u64::from_le_bytes(length)).ok()?..)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn the_end_of_a_pickle_is_found_behind_every_kind_of_argument() {
        // Protocol, frame, dict, memo, texts with dots in them, a class, numbers, bytes, stop.
        let pickle =
            b"\x80\x04\x95........}\x94X\x03\x00\x00\x00a.b\x8c\x01.\x8d\x01\0\0\0\0\0\0\0.\
            cos\nsys.tem\nK.M..J....G........I1.\nU\x01.q.C\x01.\x8a\x02..u.rest";
        assert_eq!(after_pickle(pickle), Some(b"rest".as_slice()));
    }

    #[test]
    fn a_legacy_file_that_is_a_tar_archive_too_is_refused() {
        let check = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file.rewind().unwrap();
            check_legacy(file)
        };
        // A text that leads past the header of the archive, and four empty pickles behind it.
        let mut file = [LEGACY_MAGIC, b".X\xf0\x01\0\0"].concat();
        file.resize(512, b'x');
        file.extend(b"xxxx.N.N.N.N.");
        assert!(check(&file).is_ok());
        file[257..262].copy_from_slice(b"ustar");
        assert!(check(&file).unwrap_err().to_string().contains("tar-based"));
    }

    #[test]
    fn a_pickle_without_end_has_none() {
        for pickle in [
            b"".as_slice(),
            b"NNN",
            b"X\xff\xff\xff\xff.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
            b"\xfe.",
        ] {
            assert_eq!(after_pickle(pickle), None, "{pickle:?}");
        }
    }
}
