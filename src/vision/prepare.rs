//! From encoded bytes to what a network is asked with: decoded, and resized as its card says.

use super::{DecodeError, Limits, ResizeError, decode, resize_into};
use crate::domain::model::{Preprocessing, Resize};

/// Why a photo can't be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It can't be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It can't be resized.
    #[error(transparent)]
    Resize(#[from] ResizeError),
}

impl PrepareError {
    /// Stable and snake_case.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.code(),
            Self::Resize(_) => "corrupt_image",
        }
    }
}

/// The RGB bytes of the photo, `[height, width, 3]` of `preprocessing`.
///
/// # Errors
/// It can't be decoded within `limits`.
pub fn prepare(
    bytes: &[u8],
    limits: &Limits,
    preprocessing: &Preprocessing,
) -> Result<Vec<u8>, PrepareError> {
    let mut pixels = vec![0; preprocessing.bytes()];
    prepare_into(bytes, limits, preprocessing, &mut pixels)?;
    Ok(pixels)
}

/// As [`prepare`], into memory of the caller's: [`Preprocessing::bytes`] of it.
///
/// # Errors
/// It can't be decoded within `limits`.
pub fn prepare_into(
    bytes: &[u8],
    limits: &Limits,
    preprocessing: &Preprocessing,
    pixels: &mut [u8],
) -> Result<(), PrepareError> {
    let photo = decode(bytes, limits)?;
    let Preprocessing { width, height, resize, .. } = *preprocessing;
    match resize {
        Resize::BilinearAntialiased => resize_into(&photo, width, height, pixels)?,
    }
    Ok(())
}
