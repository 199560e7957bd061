//! Formats of files, detected by their beginning: names can be wrong, and an upload has none.

use std::{fs::File, io::Read as _, path::Path};

use super::{ConvertError, MAX_SOURCE_BYTES, torch};

/// The format of a file of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Safetensors,
    /// `torch.save` since PyTorch 1.6.
    TorchZip,
    /// `torch.save` before: a stream of pickles.
    TorchLegacy,
    Hdf5,
}

impl Kind {
    /// The format of the file at `path`.
    ///
    /// # Errors
    /// It can't be read, is empty, too large, or in another format.
    pub(super) fn of(path: &Path) -> Result<Self, ConvertError> {
        let file = File::open(path).map_err(ConvertError::io(path))?;
        let bytes = file.metadata().map_err(ConvertError::io(path))?.len();
        if bytes > MAX_SOURCE_BYTES {
            return Err(ConvertError::TooLarge { bytes });
        }
        let mut head = Vec::new();
        file.take(16).read_to_end(&mut head).map_err(ConvertError::io(path))?;
        Self::of_head(&head)
    }

    fn of_head(head: &[u8]) -> Result<Self, ConvertError> {
        match head {
            [] => Err(ConvertError::Empty),
            [b'P', b'K', 3, 4, ..] => Ok(Self::TorchZip),
            _ if head.starts_with(b"\x89HDF\r\n\x1a\n") => Ok(Self::Hdf5),
            _ if head.starts_with(torch::LEGACY_MAGIC) => Ok(Self::TorchLegacy),
            // The header's length, 8 bytes, then the header: a JSON object.
            [_, _, _, _, _, _, _, _, b'{', ..] => Ok(Self::Safetensors),
            _ => Err(ConvertError::UnknownKind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_told_apart_from_weights() {
        assert!(matches!(Kind::of_head(b""), Err(ConvertError::Empty)));
        let jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF".as_slice();
        let pickle = b"\x80\x04\x95\x1d\x00\x00\x00\x00".as_slice();
        for other in [b"{".as_slice(), b"weights", b"<!DOCTYPE html>", jpeg, pickle] {
            assert!(matches!(Kind::of_head(other), Err(ConvertError::UnknownKind)), "{other:?}");
        }
    }
}
