//! Named tensors to and from a safetensors file.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use safetensors::{Dtype, SafeTensors, tensor::View};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{Error, files};

/// Tensors by name, in the order of their names.
pub type Tensors = BTreeMap<String, Tensor>;

/// Writes `tensors` and `metadata` to `path` atomically.
///
/// Tensors are stored contiguous in their logical order of dimensions, whatever their layout in
/// memory. Takes the memory of two copies as bytes.
///
/// # Errors
/// The file system failed; an existing file at `path` is unchanged.
pub fn save(
    path: &Path,
    metadata: HashMap<String, String>,
    tensors: &Tensors,
) -> Result<(), Error> {
    let io_error = |source| Error::Io { path: path.to_owned(), source };
    files::write(path, &to_bytes(path, metadata, tensors)?).map_err(io_error)
}

/// The bytes of the file that [`save`] writes; errors name it as `path`.
pub(crate) fn to_bytes(
    path: &Path,
    metadata: HashMap<String, String>,
    tensors: &Tensors,
) -> Result<Vec<u8>, Error> {
    let views = tensors.iter().map(|(name, tensor)| (name, Stored::new(tensor)));
    safetensors::serialize(views, Some(metadata))
        .map_err(|source| Error::Format { path: path.to_owned(), source })
}

/// Reads the metadata and the tensors of the file at `path`, onto the CPU.
///
/// # Errors
/// The file is missing, truncated, or has an unsupported number type.
pub fn load(path: &Path) -> Result<(HashMap<String, String>, Tensors), Error> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    parse(path, &bytes)
}

/// Reads the metadata and the tensors of the file whose bytes these are, onto the CPU; errors name
/// it as `path`.
///
/// # Errors
/// As [`load`].
pub(crate) fn parse(
    path: &Path,
    bytes: &[u8],
) -> Result<(HashMap<String, String>, Tensors), Error> {
    let format_error = |source| Error::Format { path: path.to_owned(), source };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(format_error)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(bytes).map_err(format_error)?;
    let tensors = file.iter().map(|(name, view)| {
        let content_error = |reason| Error::Content { path: path.to_owned(), reason };
        let kind = kind_of(view.dtype()).ok_or_else(|| {
            content_error(format!("tensor `{name}` has the unsupported type {:?}", view.dtype()))
        })?;
        let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)
            .map_err(|error| content_error(format!("tensor `{name}`: {error}")))?;
        Ok((name.to_owned(), tensor))
    });
    Ok((metadata, tensors.collect::<Result<_, Error>>()?))
}

/// Reads the metadata of the file at `path` without its tensors.
///
/// # Errors
/// The file is missing, or its header is truncated.
pub fn load_metadata(path: &Path) -> Result<HashMap<String, String>, Error> {
    let io_error = |source| Error::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io_error)?;
    // SAFETY: files of weights are replaced by renaming, never written in place.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(io_error)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)
        .map_err(|source| Error::Format { path: path.to_owned(), source })?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// The beginning of the file at `path` with other metadata, and where the tensors begin that follow it.
///
/// # Errors
/// As [`load_metadata`].
pub(crate) fn head_with_metadata(
    path: &Path,
    metadata: &HashMap<String, String>,
) -> Result<(Vec<u8>, u64), Error> {
    let io_error = |source| Error::Io { path: path.to_owned(), source };
    let content_error = |error: serde_json::Error| Error::Content {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut file = File::open(path).map_err(io_error)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(io_error)?;
    let length = u64::from_le_bytes(length);
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(io_error)?;
    let mut header: Value = serde_json::from_slice(&header).map_err(content_error)?;
    header["__metadata__"] = serde_json::to_value(metadata).map_err(content_error)?;
    let mut header = serde_json::to_vec(&header).map_err(content_error)?;
    // As the format wants the tensors to be aligned.
    header.resize(header.len().next_multiple_of(8), b' ');
    let head = [&(header.len() as u64).to_le_bytes(), &*header].concat();
    Ok((head, 8 + length))
}

/// Takes the tensor of that name and shape out of `tensors`.
///
/// # Errors
/// A message that names the tensor: it is missing, or has another shape.
pub fn take(tensors: &mut Tensors, name: &str, shape: &[i64]) -> Result<Tensor, String> {
    let tensor = tensors.remove(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
    if tensor.size() != shape {
        return Err(format!("tensor `{name}` has shape {:?}, expected {shape:?}", tensor.size()));
    }
    Ok(tensor)
}

/// Copies the values of `source` into the memory of `target`, which must have the same names.
///
/// # Errors
/// A message that names the tensor that is missing, unexpected or of another shape.
pub fn copy_into(target: &Tensors, mut source: Tensors) -> Result<(), String> {
    for (name, tensor) in target {
        let numbers = take(&mut source, name, &tensor.size())?;
        tch::no_grad(|| tensor.shallow_clone().copy_(&numbers));
    }
    match source.into_keys().next() {
        Some(name) => Err(format!("unexpected tensor `{name}`")),
        None => Ok(()),
    }
}

/// The same tensors again; they share memory.
#[must_use]
pub fn share(tensors: &Tensors) -> Tensors {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

/// A tensor as the writer wants to see it.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(tensor: &Tensor) -> Self {
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let (dtype, tensor) = match tensor.kind() {
            Kind::Half => (Dtype::F16, tensor),
            Kind::BFloat16 => (Dtype::BF16, tensor),
            Kind::Int8 => (Dtype::I8, tensor),
            _ => (Dtype::F32, tensor.to_kind(Kind::Float)),
        };
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        let shape = tensor.size().iter().map(|&size| size as usize).collect();
        Self { dtype, shape, bytes }
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn kind_of(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::I8 => Some(Kind::Int8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_tensors() -> Tensors {
        let channels_last = Tensor::arange(24, (Kind::Float, Device::Cpu))
            .reshape([2, 2, 2, 3])
            .permute([0, 3, 1, 2]);
        Tensors::from([
            ("kernel".to_owned(), channels_last),
            ("bias".to_owned(), Tensor::from_slice(&[1.5_f32, f32::MIN_POSITIVE])),
        ])
    }

    #[test]
    fn tensors_survive_the_file_whatever_their_layout() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let metadata = HashMap::from([("who".to_owned(), "a test".to_owned())]);
        save(&path, metadata.clone(), &some_tensors()).unwrap();
        let (read_metadata, read) = load(&path).unwrap();
        assert_eq!(read_metadata, metadata);
        assert_eq!(load_metadata(&path).unwrap(), metadata);
        assert_eq!(read, some_tensors());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        save(&path, HashMap::new(), &some_tensors()).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(load(&path), Err(Error::Format { .. })), "cut to {length}");
        }
    }

    #[test]
    fn what_was_there_stays_when_the_new_file_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        save(&path, HashMap::new(), &some_tensors()).unwrap();
        // Every write to this device fails as on a full disk.
        std::os::unix::fs::symlink("/dev/full", folder.path().join("x.safetensors.partial"))
            .unwrap();
        let error = save(&path, HashMap::new(), &some_tensors()).unwrap_err();
        if cfg!(target_os = "linux") {
            assert!(error.is_disk_full(), "{error:?}");
        }
        assert!(load(&path).is_ok());
    }
}
