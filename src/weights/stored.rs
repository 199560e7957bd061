//! The tensors of a safetensors file where they are: nothing is read but its header, and what has to
//! be converted.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorInfo};

use super::Error;

/// The tensors of a file that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct StoredTensors {
    path: PathBuf,
    file: File,
    /// Where the first tensor begins, in bytes.
    begin: u64,
    tensors: BTreeMap<String, TensorInfo>,
}

/// The numbers of a tensor, little-endian.
#[derive(Debug)]
pub(crate) enum Numbers {
    /// In the file, as they are wanted: so many bytes from this one on.
    InFile { offset: u64, length: u64 },
    /// Read and converted.
    Converted(Vec<u8>),
}

impl StoredTensors {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// It is missing, truncated, or no safetensors file.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error)?;
        // SAFETY: files of weights are replaced by renaming, never written in place.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(io_error)?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|source| Error::Format { path: path.to_owned(), source })?;
        let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone()));
        let begin = size_of::<u64>() as u64 + header as u64;
        Ok(Self { path: path.to_owned(), begin, tensors: tensors.collect(), file })
    }

    /// The shape of the tensor of that name, if there is one.
    pub(crate) fn shape(&self, name: &str) -> Option<Vec<i64>> {
        let sizes = self.tensors.get(name)?.shape.iter();
        Some(sizes.map(|&size| size as i64).collect())
    }

    /// Takes the tensor of that name and shape, as fp32 numbers.
    ///
    /// # Errors
    /// It is missing, has another shape or no floating-point numbers, or can't be read.
    pub(crate) fn take_fp32(&mut self, name: &str, shape: &[i64]) -> Result<Numbers, Error> {
        let info = self.take(name, shape)?;
        let (offset, length) = self.place(&info);
        match info.dtype {
            Dtype::F32 => Ok(Numbers::InFile { offset, length }),
            Dtype::F16 => self.convert(offset, length, |bits| f16::from_bits(bits).to_f32()),
            Dtype::BF16 => self.convert(offset, length, |bits| bf16::from_bits(bits).to_f32()),
            other => Err(self.wrong(name, &format!("has the unsupported type {other:?}"))),
        }
    }

    /// Takes the tensor of that name and shape, as numbers of one byte.
    ///
    /// # Errors
    /// It is missing, has another shape or type.
    pub(crate) fn take_int8(&mut self, name: &str, shape: &[i64]) -> Result<Numbers, Error> {
        let info = self.take(name, shape)?;
        if info.dtype != Dtype::I8 {
            return Err(self.wrong(name, &format!("is {:?}, expected I8", info.dtype)));
        }
        let (offset, length) = self.place(&info);
        Ok(Numbers::InFile { offset, length })
    }

    /// Leaves out the tensors that were not taken.
    pub(crate) fn leave_others(&mut self) {
        self.tensors.clear();
    }

    /// Checks that every tensor was taken, and gives the file.
    ///
    /// # Errors
    /// A message that names one that was not.
    pub(crate) fn finish(self) -> Result<File, Error> {
        match self.tensors.keys().next() {
            Some(name) => Err(self.wrong(name, "is unexpected")),
            None => Ok(self.file),
        }
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<TensorInfo, Error> {
        let found = self.shape(name).ok_or_else(|| self.wrong(name, "is missing"))?;
        if found != shape {
            return Err(self.wrong(name, &format!("has shape {found:?}, expected {shape:?}")));
        }
        self.tensors.remove(name).ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn place(&self, info: &TensorInfo) -> (u64, u64) {
        let (from, to) = info.data_offsets;
        (self.begin + from as u64, (to - from) as u64)
    }

    fn convert(
        &self,
        offset: u64,
        length: u64,
        to_f32: impl Fn(u16) -> f32,
    ) -> Result<Numbers, Error> {
        let mut bytes = vec![0; length as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| Error::Io { path: self.path.clone(), source })?;
        let (numbers, _) = bytes.as_chunks();
        let converted = numbers.iter().flat_map(|it| to_f32(u16::from_le_bytes(*it)).to_le_bytes());
        Ok(Numbers::Converted(converted.collect()))
    }

    fn wrong(&self, name: &str, what: &str) -> Error {
        let reason = format!("tensor `{name}` {what}");
        Error::Content { path: self.path.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tch::{Kind, Tensor};

    use super::{
        super::tensors::{self, Tensors},
        *,
    };

    #[test]
    fn numbers_are_those_that_were_written_whatever_their_type() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.safetensors");
        let values = [0.5_f32, -3.0, 0.25, 65_504.0, 0.0, -0.125];
        let tensor = |kind| Tensor::from_slice(&values).reshape([2, 3]).to_kind(kind);
        let kinds = [("a", Kind::Float), ("b", Kind::Half), ("c", Kind::BFloat16)];
        let mut all: Tensors = kinds.map(|(name, kind)| (name.to_owned(), tensor(kind))).into();
        all.insert("d".to_owned(), Tensor::from_slice(&[1_i8, -7]));
        tensors::save(&path, HashMap::new(), &all).unwrap();

        let mut stored = StoredTensors::open(&path).unwrap();
        assert_eq!(stored.shape("a"), Some(vec![2, 3]));
        let file = std::fs::read(&path).unwrap();
        let bytes = |numbers| match numbers {
            Numbers::InFile { offset, length } => {
                file[offset as usize..(offset + length) as usize].to_vec()
            }
            Numbers::Converted(bytes) => bytes,
        };
        let floats = |numbers| -> Vec<f32> {
            bytes(numbers).as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)).collect()
        };
        assert_eq!(floats(stored.take_fp32("a", &[2, 3]).unwrap()), values);
        assert_eq!(floats(stored.take_fp32("b", &[2, 3]).unwrap()), values);
        let rounded = [0.5, -3.0, 0.25, 65_536.0, 0.0, -0.125];
        assert_eq!(floats(stored.take_fp32("c", &[2, 3]).unwrap()), rounded);
        for error in [
            stored.take_fp32("a", &[2, 3]).unwrap_err(),
            stored.take_fp32("d", &[2]).unwrap_err(),
            stored.take_int8("e", &[3]).unwrap_err(),
        ] {
            assert!(error.to_string().contains("tensor `"), "{error}");
        }
        let mut stored = StoredTensors::open(&path).unwrap();
        assert_eq!(bytes(stored.take_int8("d", &[2]).unwrap()), [1, 0xf9]);
        let error = stored.finish().unwrap_err().to_string();
        assert!(error.ends_with("tensor `a` is unexpected"), "{error}");
    }
}
