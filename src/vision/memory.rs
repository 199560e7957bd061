//! How much memory decoding takes, by an image's header.
//!
//! Bytes per pixel are upper bounds of what an allocator counted for each kind of file
//! (`tests/decoding_memory.rs` holds them to it).

use std::io::Cursor;

use image::{ImageDecoder as _, ImageFormat, ImageReader};

use super::{
    decode::corrupt_image,
    error::{DecodeError, Limits},
    format::Format,
    gif, jpeg,
    photo::Detail,
    png,
    prepare::{detail_to_prepare, detail_to_shrink},
};
use crate::domain::preprocessing::Preprocessing;

/// For tables, and for rows on their way.
const OVERHEAD: u64 = 1 << 20;

/// Bytes that [`super::decode()`] takes at most for the encoded image `bytes`, these not included; with
/// `preprocessing`, those that [`super::prepare()`] takes.
///
/// # Errors
/// No image, or one above the limits.
pub fn decoding_memory(
    bytes: &[u8],
    limits: &Limits,
    preprocessing: Option<&Preprocessing>,
) -> Result<u64, DecodeError> {
    memory(bytes, limits, preprocessing.map_or(Detail::Whole, detail_to_prepare))
}

/// Bytes that [`super::shrink()`] to `width` × `height` takes at most for the encoded image `bytes`, these not included.
///
/// # Errors
/// As [`decoding_memory`].
pub fn shrinking_memory(
    bytes: &[u8],
    limits: &Limits,
    width: u32,
    height: u32,
) -> Result<u64, DecodeError> {
    memory(bytes, limits, detail_to_shrink(width, height))
}

fn memory(bytes: &[u8], limits: &Limits, detail: Detail) -> Result<u64, DecodeError> {
    let pixels = |(width, height): (u32, u32)| {
        limits.check(width, height).map(|()| u64::from(width) * u64::from(height))
    };
    let format = Format::sniff(bytes)?;
    let decoded = match format {
        Format::Jpeg => jpeg::memory(bytes, limits, detail)?,
        Format::Png => {
            let corrupt = || DecodeError::corrupt("it has no header");
            let (size, bits) = png::size(bytes).zip(png::bit_depth(bytes)).ok_or_else(corrupt)?;
            pixels(size)? * if bits == 16 { 12 } else { 8 }
        }
        Format::WebP => pixels(size(bytes, ImageFormat::WebP)?)? * 12,
        Format::Bmp => pixels(size(bytes, ImageFormat::Bmp)?)? * 8,
        Format::Gif => {
            let (screen, frame) = gif::sizes(bytes)?;
            let screen = if screen == frame { 0 } else { pixels(screen).unwrap_or_default() };
            pixels(frame)? * 8 + screen * 8
        }
    };
    Ok(decoded + OVERHEAD)
}

fn size(bytes: &[u8], format: ImageFormat) -> Result<(u32, u32), DecodeError> {
    let decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder();
    Ok(decoder.map_err(corrupt_image)?.dimensions())
}
