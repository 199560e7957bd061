//! Keras' `.h5` files: HDF5 in one of several layouts, kernels `[height, width, in, out]`.

use std::path::Path;

use hdf5_reader::{ByteOrder, Dataset, Datatype, Hdf5File, OpenOptions, error::Error};
use safetensors::Dtype;

use super::{
    Base, ConvertError, Normalization, Tensor,
    layers::{LAYERS, Layer, Part, collect},
    tensor::check,
};

const KIND: &str = "HDF5";
/// More than the largest tensor of the base, 9.4 MB: bounds what is unpacked.
const MAX_TENSOR_BYTES: usize = 16 << 20;
const MAX_OBJECT_HEADER_BYTES: usize = 1 << 20;

/// Where a file keeps the tensors of a convolution.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// Weights alone, as Keras publishes them since 2016.
    Published,
    /// Weights alone, as Keras 2 wrote them.
    Keras2,
    /// A whole model, `model.save("….h5")`; Keras 2 ends the names of tensors with `:0`.
    Model { ending: &'static str },
    /// Weights alone, as Keras 3 writes them (`….weights.h5`): layers by their names, or by their
    /// classes in the order of the network.
    Keras3 { by_class: bool },
}

impl Layout {
    const ALL: [Self; 6] = [
        Self::Published,
        Self::Keras2,
        Self::Model { ending: "" },
        Self::Model { ending: ":0" },
        Self::Keras3 { by_class: true },
        Self::Keras3 { by_class: false },
    ];

    /// The path of a tensor of the convolution `layer`, the `index`-th of the network from 0.
    fn path(self, index: usize, layer: Layer, part: Part) -> String {
        let name = layer.name;
        let weight = part == Part::Weight;
        let word = if weight { "kernel" } else { "bias" };
        match self {
            Self::Published => format!("{name}/{name}_{}_1:0", if weight { "W" } else { "b" }),
            Self::Keras2 => format!("{name}/{name}/{word}:0"),
            Self::Model { ending } => format!("model_weights/{name}/{name}/{word}{ending}"),
            Self::Keras3 { by_class } => {
                let folder = match index {
                    _ if !by_class => name.to_owned(),
                    0 => "conv2d".to_owned(),
                    _ => format!("conv2d_{index}"),
                };
                format!("layers/{folder}/vars/{}", u8::from(!weight))
            }
        }
    }
}

/// Reads the base out of the file at `path`.
pub(super) fn read(path: &Path) -> Result<Base, ConvertError> {
    let options = OpenOptions {
        chunk_cache_bytes: MAX_TENSOR_BYTES,
        max_chunk_bytes: MAX_TENSOR_BYTES,
        max_read_bytes: MAX_TENSOR_BYTES,
        max_object_header_bytes: MAX_OBJECT_HEADER_BYTES,
        ..OpenOptions::default()
    };
    let file = Hdf5File::open_with_options(path, options).map_err(ConvertError::damaged(KIND))?;
    // As libhdf5 does, even if the missing part is after the last tensor.
    if file.storage().len() < file.superblock().eof_address {
        return Err(ConvertError::damaged(KIND)("shorter than its header says"));
    }
    let layout = layout_of(&file)?;
    let tensors = collect(|index, layer, part| {
        let name = layout.path(index, layer, part);
        let missing = || ConvertError::Missing { tensor: name.clone() };
        let dataset = dataset(&file, &name)?.ok_or_else(missing)?;
        tensor(&dataset, &name, layer, part)
    })?;
    Ok(Base { tensors, origin: "keras".to_owned(), preprocessing: Normalization::Caffe })
}

/// The layout under which the first convolution is found.
fn layout_of(file: &Hdf5File) -> Result<Layout, ConvertError> {
    for layout in Layout::ALL {
        if dataset(file, &layout.path(0, LAYERS[0], Part::Weight))?.is_some() {
            return Ok(layout);
        }
    }
    Err(ConvertError::Missing { tensor: LAYERS[0].name.to_owned() })
}

fn dataset(file: &Hdf5File, name: &str) -> Result<Option<Dataset>, ConvertError> {
    match file.dataset(name) {
        Ok(dataset) => Ok(Some(dataset)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(ConvertError::damaged(KIND)(error)),
    }
}

fn is_not_found(error: &Error) -> bool {
    match error {
        Error::GroupNotFound(_) | Error::DatasetNotFound(_) => true,
        Error::Context { source, .. } => is_not_found(source),
        _ => false,
    }
}

fn tensor(dataset: &Dataset, name: &str, layer: Layer, part: Part) -> Result<Tensor, ConvertError> {
    let damaged = |error: Error| ConvertError::damaged(KIND)(error);
    let expected = layer.shape_in_keras(part);
    let shape: Vec<usize> = dataset.shape().iter().map(|&size| size as usize).collect();
    let dtype = dtype(&dataset.raw_datatype().map_err(damaged)?);
    let dtype = check(name, (&shape, &expected), dtype, &in_words(dataset.dtype()))?;
    let bytes = dataset.read_raw_bytes().map_err(damaged)?;
    Ok(Tensor::new(name, dtype, shape, bytes)?.outputs_first())
}

/// The number type that a datatype message describes, if weights can have it.
///
/// After class, flags and size, 8 bytes, it describes the layout of the bits: offset and precision
/// of the number (2 bytes each), place and size of exponent and mantissa (1 byte each), and the
/// exponent's bias (4 bytes). The size alone would take a bf16 for an f16.
fn dtype(message: &[u8]) -> Option<Dtype> {
    const FLOATING_POINT: u8 = 1;
    let (head, rest) = message.split_first_chunk::<8>()?;
    // The upper four bits are the message's version; flag bits 0 and 6 are the order of bytes.
    let little_endian = head[1] & 0b0100_0001 == 0;
    if head[0] & 0x0f != FLOATING_POINT || !little_endian {
        return None;
    }
    match *rest.first_chunk::<12>()? {
        [0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0] => Some(Dtype::F32),
        [0, 0, 16, 0, 10, 5, 0, 10, 15, 0, 0, 0] => Some(Dtype::F16),
        [0, 0, 16, 0, 7, 8, 0, 7, 127, 0, 0, 0] => Some(Dtype::BF16),
        _ => None,
    }
}

fn in_words(datatype: &Datatype) -> String {
    match datatype {
        Datatype::FloatingPoint { size, byte_order: ByteOrder::BigEndian } => {
            format!("big-endian {size}-byte floats")
        }
        Datatype::FloatingPoint { size, .. } => format!("{size}-byte floats"),
        Datatype::FixedPoint { size, .. } => format!("{size}-byte integers"),
        _ => "non-numeric data".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_numbers_are_told_by_their_bits() {
        let f16 = [0x11, 32, 15, 0, 2, 0, 0, 0, 0, 0, 16, 0, 10, 5, 0, 10, 15, 0, 0, 0];
        let f32 = [0x11, 32, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
        let f64 = [0x11, 32, 63, 0, 8, 0, 0, 0, 0, 0, 64, 0, 52, 11, 0, 52, 255, 3, 0, 0];
        assert_eq!(dtype(&f16), Some(Dtype::F16));
        assert_eq!(dtype(&f32), Some(Dtype::F32));
        assert_eq!(dtype(&f64), None);
        let mut bf16 = f16;
        bf16[12..17].copy_from_slice(&[7, 8, 0, 7, 127]);
        assert_eq!(dtype(&bf16), Some(Dtype::BF16));
        let mut big_endian = f32;
        big_endian[1] |= 1;
        assert_eq!(dtype(&big_endian), None);
        assert_eq!(dtype(&f32[..19]), None);
    }
}
