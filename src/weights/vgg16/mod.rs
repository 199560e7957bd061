//! Converts published weights of VGG16's convolutional base into our own safetensors file.
//!
//! The server calls [`convert`] on an uploaded or downloaded file, off its async threads; the
//! trainer and the API read the header with [`info`]. The format of a source is detected by its
//! content: safetensors, a `.pth` of PyTorch or an `.h5` of Keras. Each reader checks the shape and
//! the number type of a tensor before it reads it, and skips tensors that are not part of the base:
//! a classifier of 480 MB costs nothing, and a hostile file can't use more memory than its own
//! size.
//!
//! The target holds 26 tensors, 14,714,688 parameters: `block1_conv1.weight` `[64, 3, 3, 3]`
//! (out, in, height, width), `block1_conv1.bias` `[64]`, … `block5_conv3.bias` `[512]`. Numbers
//! stay as they came, f32, f16 or bf16; the order of their bytes is taken to be this machine's,
//! little-endian.

mod error;
mod file;
mod keras;
mod kind;
mod layers;
mod safetensors;
mod tensor;
mod torch;

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::Sha256;
use utoipa::ToSchema;

pub use self::error::ConvertError;
use self::{kind::Kind, tensor::Tensor};
use super::files;
use crate::domain::{dataset::Digest, preprocessing};

/// Largest source: twice the largest that is published.
pub const MAX_SOURCE_BYTES: u64 = 1 << 30;

/// The format of header that this program writes and reads.
const FORMAT: u32 = 1;

/// Image preprocessing that the weights require.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WeightsPreprocessing)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// BGR in 0 to 255, minus 103.939, 116.779 and 123.68: Keras' weights.
    Caffe,
    /// RGB divided by 255, minus 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225:
    /// torchvision's weights.
    Torch,
}

impl From<Normalization> for preprocessing::Normalization {
    fn from(preprocessing: Normalization) -> Self {
        match preprocessing {
            Normalization::Caffe => Self::Caffe,
            Normalization::Torch => Self::Torch,
        }
    }
}

/// The header of a converted file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Version of the header format.
    pub format: u32,
    /// Publisher of the weights: `keras`, `torchvision`, or the origin in a safetensors file, on
    /// one line of at most 200 characters.
    pub origin: String,
    /// Image preprocessing that they require.
    pub preprocessing: Normalization,
    /// SHA-256 of the source file.
    pub source_sha256: Digest,
}

/// The base as a reader gives it.
struct Base {
    tensors: Vec<(String, Tensor)>,
    origin: String,
    preprocessing: Normalization,
}

/// Converts the file of weights at `source`, in any supported format, into one of ours at `target`,
/// which is written atomically. Only one call at a time may write the same target.
///
/// Blocks for the time it takes to read the source twice, seconds at most, and needs the memory of
/// two copies of the base: 130 MB in f32.
///
/// # Errors
/// The source has an unknown format, is damaged, is not VGG16, contains NaN or infinite values, or
/// does not specify its preprocessing; or the file system failed.
pub fn convert(source: &Path, target: &Path) -> Result<Info, ConvertError> {
    let base = match Kind::of(source)? {
        Kind::Safetensors => safetensors::read(source),
        Kind::TorchZip => torch::read_zip(source),
        Kind::TorchLegacy => torch::read_legacy(source),
        Kind::Hdf5 => keras::read(source),
    }?;
    let sha256 = files::hash::<Sha256>(source).map_err(ConvertError::io(source))?;
    let info = Info {
        format: FORMAT,
        origin: base.origin,
        preprocessing: base.preprocessing,
        source_sha256: Digest(sha256.into()),
    };
    file::write(target, &info, base.tensors)?;
    Ok(info)
}

/// Reads the header of the converted file at `path`, without its tensors.
///
/// # Errors
/// It is missing, truncated, not written by [`convert`], or has a newer format.
pub fn info(path: &Path) -> Result<Info, ConvertError> {
    file::read_info(path)
}
