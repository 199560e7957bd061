//! The file of a model: its bytes in parts, most of which are weights that stay in the model file
//! until they are written.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write},
};

use bytes::Bytes;
use prost::{Message as _, encode_length_delimiter, length_delimiter_len};

use super::{
    Error,
    graph::{Graph, Initializer},
    schema::{GRAPH, INITIALIZER, ModelProto, RAW_DATA},
};
use crate::weights::stored::Numbers;

/// Protocol Buffers can't have more.
const MAX_BYTES: u64 = i32::MAX as u64;

/// A part of the file.
#[derive(Debug, Clone)]
pub enum Part {
    /// These bytes.
    Bytes(Bytes),
    /// Bytes of the model file, from this one on.
    InFile {
        /// The first.
        offset: u64,
        /// How many.
        length: u64,
    },
}

/// A model as ONNX.
#[derive(Debug)]
pub struct OnnxFile {
    /// The model file.
    pub source: File,
    /// In their order.
    pub parts: Vec<Part>,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl OnnxFile {
    /// The file of a model with that graph.
    pub(super) fn new(model: &ModelProto, graph: Graph) -> Result<Self, Error> {
        let Graph { proto, initializers, weights } = graph;
        let source = weights.finish()?;
        let (mut parts, mut bytes) = (Vec::with_capacity(2 * initializers.len() + 1), 0);
        for Initializer { tensor, numbers } in initializers {
            let part = match numbers {
                Numbers::InFile { offset, length } => Part::InFile { offset, length },
                Numbers::Converted(bytes) => Part::Bytes(bytes.into()),
            };
            let mut head = tensor.encode_to_vec();
            delimited(&mut head, RAW_DATA, part.bytes())?;
            let mut front = Vec::new();
            delimited(&mut front, INITIALIZER, head.len() as u64 + part.bytes())?;
            let head = Part::Bytes([front, head].concat().into());
            bytes += head.bytes() + part.bytes();
            parts.extend([head, part]);
        }
        let nodes = proto.encode_to_vec();
        let mut head = model.encode_to_vec();
        delimited(&mut head, GRAPH, nodes.len() as u64 + bytes)?;
        let head = Part::Bytes([head, nodes].concat().into());
        bytes += head.bytes();
        if bytes > MAX_BYTES {
            return Err(Error::Network(format!("{bytes} bytes are too many for ONNX")));
        }
        parts.insert(0, head);
        Ok(Self { source, parts, bytes })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The model file can't be read, or `to` not written.
    pub fn write_to(&self, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let mut source = &self.source;
        for part in &self.parts {
            match *part {
                Part::Bytes(ref bytes) => to.write_all(bytes)?,
                Part::InFile { offset, length } => {
                    source.seek(SeekFrom::Start(offset))?;
                    if io::copy(&mut source.take(length), to)? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
        Ok(())
    }
}

impl Part {
    fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::InFile { length, .. } => *length,
        }
    }
}

/// Appends the beginning of a field that has so many bytes.
fn delimited(to: &mut Vec<u8>, tag: u8, bytes: u64) -> Result<(), Error> {
    let bytes = usize::try_from(bytes).map_err(|error| Error::Network(error.to_string()))?;
    to.reserve(1 + length_delimiter_len(bytes));
    to.push((tag << 3) | 2);
    encode_length_delimiter(bytes, to).map_err(|error| Error::Network(error.to_string()))
}
