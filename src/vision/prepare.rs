//! From encoded bytes to the input of a network: decoded, and resized as its card says.

use image::RgbImage;

use super::{
    DecodeError, Limits, ResizeError, decode,
    decode::decode_photo,
    photo::{Detail, Photo, apply_orientation, stored_size},
    resize,
    resize::resize_part_into,
    resize_into,
};
use crate::domain::preprocessing::{Preprocessing, Resize};

/// Minimum pixels of an image in each direction before it is resized, per pixel after. If a decoder
/// skips pixels, those that it keeps are slightly different; with 4 of them averaged in each
/// direction, probabilities change by less than 0.01.
const AT_LEAST: u32 = 4;

/// As [`AT_LEAST`], for [`shrink`]: so many that a pixel after is at most 2 of 255 off in its tests.
const AT_LEAST_TO_SHRINK: u32 = 40;

/// Why an image can't be preprocessed.
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
    /// Stable error code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.code(),
            Self::Resize(_) => "corrupt_image",
        }
    }
}

/// The RGB bytes of the image, `[height, width, 3]` of `preprocessing`.
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
    let photo = decode_photo(bytes, limits, detail_to_prepare(preprocessing))?;
    let Preprocessing { width, height, resize: Resize::BilinearAntialiased, .. } = *preprocessing;
    Ok(fill(photo, width, height, pixels)?)
}

/// How many pixels [`prepare`] needs.
pub(super) const fn detail_to_prepare(preprocessing: &Preprocessing) -> Detail {
    Detail::AtLeast(AT_LEAST * preprocessing.width, AT_LEAST * preprocessing.height)
}

/// An image that was shrunk to a few pixels.
#[derive(Debug)]
pub struct Shrunk {
    /// The few pixels.
    pub image: RgbImage,
    /// Upright width of the original in pixels.
    pub original_width: u32,
    /// Upright height of the original in pixels.
    pub original_height: u32,
}

/// Shrinks an encoded image to `width` × `height` pixels, a few of each, without keeping the aspect ratio. All of its
/// data is decoded, but a large JPEG not to all of its pixels.
///
/// # Errors
/// It can't be decoded within `limits`.
pub fn shrink(
    bytes: &[u8],
    limits: &Limits,
    width: u32,
    height: u32,
) -> Result<Shrunk, PrepareError> {
    let photo = decode_photo(bytes, limits, detail_to_shrink(width, height))?;
    let (stored_width, stored_height) = photo.original;
    let (original_width, original_height) =
        stored_size(stored_width, stored_height, photo.orientation);
    let mut image = RgbImage::new(width, height);
    fill(photo, width, height, &mut image)?;
    Ok(Shrunk { image, original_width, original_height })
}

/// How many pixels [`shrink`] needs.
pub(super) const fn detail_to_shrink(width: u32, height: u32) -> Detail {
    Detail::Halved(AT_LEAST_TO_SHRINK * width, AT_LEAST_TO_SHRINK * height)
}

/// As [`prepare`], and also the image for display, upright and with its own aspect ratio, no side
/// longer than `longest`.
///
/// # Errors
/// It can't be decoded within `limits`.
pub fn prepare_with_picture(
    bytes: &[u8],
    limits: &Limits,
    preprocessing: &Preprocessing,
    longest: u32,
) -> Result<(Vec<u8>, RgbImage), PrepareError> {
    // Decoded twice: the display may need more pixels than the network's input.
    let pixels = prepare(bytes, limits, preprocessing)?;
    let photo = decode(bytes, limits)?;
    let (width, height) = photo.dimensions();
    let scale = (f64::from(longest) / f64::from(width.max(height))).min(1.0);
    let shrunk = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let picture = resize(&photo, shrunk(width), shrunk(height))?;
    Ok((pixels, picture))
}

/// An image is rotated before it is resized, except one whose last column or row is only partly in
/// it, which must still be at its right or lower edge then.
fn fill(photo: Photo, width: u32, height: u32, pixels: &mut [u8]) -> Result<(), ResizeError> {
    let Photo { image, size, orientation, .. } = photo;
    if size == (f64::from(image.width()), f64::from(image.height())) {
        return resize_into(&apply_orientation(image, orientation), width, height, pixels);
    }
    let (stored_width, stored_height) = stored_size(width, height, orientation);
    let mut resized = RgbImage::new(stored_width, stored_height);
    resize_part_into(&image, size, stored_width, stored_height, &mut resized)?;
    resize_into(&apply_orientation(resized, orientation), width, height, pixels)
}
