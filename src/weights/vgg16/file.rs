//! Our own file format: the base's tensors under a header with their origin.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use safetensors::tensor::Metadata;

use super::{ConvertError, FORMAT, Info, Tensor};
use crate::weights::files;

/// The key of [`Info`] in the header's metadata.
const METADATA_KEY: &str = "vgg16";
/// Maximum header size of a safetensors file. That of a VGG16 has some 4 KB.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Writes `tensors` under a header with `info` atomically.
pub(super) fn write(
    path: &Path,
    info: &Info,
    tensors: Vec<(String, Tensor)>,
) -> Result<(), ConvertError> {
    let write = || {
        let text = serde_json::to_string(info)?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), text)]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(io::Error::other)?;
        files::write(path, &bytes)
    };
    write().map_err(ConvertError::io(path))
}

/// Reads the header of the file at `path`.
pub(super) fn read_info(path: &Path) -> Result<Info, ConvertError> {
    let not_converted = |reason| ConvertError::NotConverted { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(ConvertError::io(path))?;
    let header = Header::read(&mut file).map_err(|error| not_converted(error.to_string()))?;
    info_in(&header)
        .ok_or_else(|| not_converted(format!("its header has no `{METADATA_KEY}`")))?
        .map_err(not_converted)
}

/// The header of a file, if it is one of ours.
pub(super) fn info_in(header: &Header) -> Option<Result<Info, String>> {
    let text = header.text(METADATA_KEY)?;
    let read = || {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        // Checked first: a newer format may not parse as ours.
        if let Some(format) = value["format"].as_u64().filter(|&n| n > u64::from(FORMAT)) {
            return Err(format!("header format {format} is newer than the supported {FORMAT}"));
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    };
    Some(read())
}

/// The header of a safetensors file.
pub(super) struct Header {
    pub(super) metadata: Metadata,
    /// Where the tensors begin.
    pub(super) data: u64,
}

impl Header {
    /// Reads the header, and leaves the file position after it. Checks that its tensors are within
    /// the file.
    ///
    /// # Errors
    /// It is not a header, or does not match the file.
    pub(super) fn read(file: &mut File) -> io::Result<Self> {
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER_BYTES {
            let reason =
                format!("header of {length} bytes exceeds the limit of {MAX_HEADER_BYTES}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header)?;
        let metadata: Metadata = serde_json::from_slice(&header)?;
        let data = length + 8;
        if file.metadata()?.len() != data + metadata.data_len() as u64 {
            let reason = "size does not match its header";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(Self { metadata, data })
    }

    /// An entry of the free metadata.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(key).map(String::as_str)
    }
}
