//! Safetensors files of others: torchvision's names or ours.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use safetensors::Dtype;

use super::{
    Base, ConvertError, Normalization, Tensor,
    error::shortened,
    file::{self, Header},
    layers::{Layer, Part, collect},
    tensor::check,
};

const KIND: &str = "safetensors";
/// Longest `origin` that is kept, in characters.
const MAX_ORIGIN: usize = 200;

/// Reads the base out of the file at `path`.
pub(super) fn read(path: &Path) -> Result<Base, ConvertError> {
    let mut file = File::open(path).map_err(ConvertError::io(path))?;
    let header = Header::read(&mut file).map_err(ConvertError::damaged(KIND))?;
    let names = header.metadata.offset_keys();
    let named_by_torchvision = names.iter().any(|name| name.starts_with("features."));
    let tensors = collect(|_, layer, part| {
        let name =
            if named_by_torchvision { layer.in_torchvision(part) } else { layer.canonical(part) };
        tensor(&mut file, &header, &name, layer, part)
    })?;
    let (origin, preprocessing) = provenance(&header, named_by_torchvision)?;
    Ok(Base { tensors, origin, preprocessing })
}

/// Origin and preprocessing of the weights: from the header of a file of ours, from plain metadata,
/// or from the names of the tensors.
fn provenance(
    header: &Header,
    named_by_torchvision: bool,
) -> Result<(String, Normalization), ConvertError> {
    if let Some(info) = file::info_in(header) {
        let info = info.map_err(ConvertError::damaged(KIND))?;
        return Ok((shortened(&info.origin, MAX_ORIGIN), info.preprocessing));
    }
    let origin = header.text("origin").unwrap_or("a safetensors file of unknown origin");
    let preprocessing = match header.text("preprocessing") {
        Some(text) if text.starts_with("caffe") => Normalization::Caffe,
        Some(text) if text.starts_with("torch") => Normalization::Torch,
        Some(text) => {
            return Err(ConvertError::UnknownPreprocessing { found: shortened(text, 50) });
        }
        None if named_by_torchvision => Normalization::Torch,
        None => return Err(ConvertError::NoPreprocessing),
    };
    Ok((shortened(origin, MAX_ORIGIN), preprocessing))
}

fn tensor(
    file: &mut File,
    header: &Header,
    name: &str,
    layer: Layer,
    part: Part,
) -> Result<Tensor, ConvertError> {
    let info = header
        .metadata
        .info(name)
        .ok_or_else(|| ConvertError::Missing { tensor: name.to_owned() })?;
    let shape = layer.shape(part);
    let dtype =
        Some(info.dtype).filter(|dtype| matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16));
    let dtype = check(name, (&info.shape, &shape), dtype, &format!("{:?}", info.dtype))?;
    let (start, end) = info.data_offsets;
    let mut read = || -> io::Result<_> {
        file.seek(SeekFrom::Start(header.data + start as u64))?;
        let mut bytes = vec![0; end - start];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(ConvertError::damaged(KIND))?;
    Tensor::new(name, dtype, shape, bytes)
}
