//! From encoded bytes to what a network is asked with: decoded, and resized as its card says.

use image::RgbImage;

use super::{DecodeError, Limits, ResizeError, decode, resize, resize_into};
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
    fill(&decode(bytes, limits)?, preprocessing, pixels)
}

/// As [`prepare`], and beside it the photo as people look at it, upright and in its own aspect,
/// no side longer than `longest`.
///
/// # Errors
/// It can't be decoded within `limits`.
pub fn prepare_with_picture(
    bytes: &[u8],
    limits: &Limits,
    preprocessing: &Preprocessing,
    longest: u32,
) -> Result<(Vec<u8>, RgbImage), PrepareError> {
    let photo = decode(bytes, limits)?;
    let mut pixels = vec![0; preprocessing.bytes()];
    fill(&photo, preprocessing, &mut pixels)?;
    let (width, height) = photo.dimensions();
    let scale = (f64::from(longest) / f64::from(width.max(height))).min(1.0);
    let shrunk = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let picture = resize(&photo, shrunk(width), shrunk(height))?;
    Ok((pixels, picture))
}

fn fill(
    photo: &RgbImage,
    preprocessing: &Preprocessing,
    pixels: &mut [u8],
) -> Result<(), PrepareError> {
    let Preprocessing { width, height, resize, .. } = *preprocessing;
    match resize {
        Resize::BilinearAntialiased => resize_into(photo, width, height, pixels)?,
    }
    Ok(())
}
