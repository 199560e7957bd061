//! PyTorch's `.pth` files with a state dict, in both of their containers.
//!
//! A `.pth` is a pickle, a program that builds objects, with the tensors' bytes beside it. The
//! reader follows it without calling anything that it names. [`bounds`] first ensures that the
//! pickle is short: objects take a hundred times the memory of the bytes that create them.

mod bounds;

use std::{fs::File, path::Path};

use pytorch_reader::{DType, PytorchReader};
use safetensors::Dtype;

pub(super) use self::bounds::LEGACY_MAGIC;
use super::{
    Base, ConvertError, Normalization, Tensor,
    layers::{Layer, Part, collect},
    tensor::check,
};

const KIND: &str = "PyTorch";

/// Reads the base out of a file that PyTorch wrote since version 1.6.
pub(super) fn read_zip(path: &Path) -> Result<Base, ConvertError> {
    let file = File::open(path).map_err(ConvertError::io(path))?;
    bounds::check_zip(file).map_err(ConvertError::damaged(KIND))?;
    read(path)
}

/// Reads the base out of a file that PyTorch wrote before version 1.6: torchvision's own.
pub(super) fn read_legacy(path: &Path) -> Result<Base, ConvertError> {
    let file = File::open(path).map_err(ConvertError::io(path))?;
    bounds::check_legacy(file).map_err(ConvertError::damaged(KIND))?;
    read(path)
}

fn read(path: &Path) -> Result<Base, ConvertError> {
    let file = PytorchReader::new(path).map_err(ConvertError::damaged(KIND))?;
    let tensors = collect(|_, layer, part| tensor(&file, layer, part))?;
    Ok(Base { tensors, origin: "torchvision".to_owned(), preprocessing: Normalization::Torch })
}

fn tensor(file: &PytorchReader, layer: Layer, part: Part) -> Result<Tensor, ConvertError> {
    let name = layer.in_torchvision(part);
    let tensor = file.get(&name).ok_or_else(|| ConvertError::Missing { tensor: name.clone() })?;
    let shape = layer.shape(part);
    let dtype = check(
        &name,
        (tensor.shape(), &shape),
        dtype(tensor.dtype()),
        &format!("{:?}", tensor.dtype()),
    )?;
    let bytes = tensor.read().map_err(ConvertError::damaged(KIND))?;
    Tensor::new(&name, dtype, shape, bytes)
}

fn dtype(dtype: DType) -> Option<Dtype> {
    match dtype {
        DType::F32 => Some(Dtype::F32),
        DType::F16 => Some(Dtype::F16),
        DType::BF16 => Some(Dtype::BF16),
        _ => None,
    }
}
