//! GIF: the first frame, on its screen.

use std::{io::ErrorKind, num::NonZeroU64};

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use image::{RgbaImage, imageops};

use super::error::{DecodeError, Limits};

/// Bytes of a pixel.
const RGBA: u64 = 4;

/// Decodes the first frame. The screen around it stays transparent; if the frame does not fit on
/// the screen, which may even have no size, the image is the frame.
///
/// # Errors
/// A screen or a frame above `limits`, or one that is damaged or truncated.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbaImage, DecodeError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    if let Some(limit) = NonZeroU64::new(limits.max_pixels.saturating_mul(RGBA)) {
        options.set_memory_limit(MemoryLimit::Bytes(limit));
    }
    let mut decoder = options.read_info(bytes).map_err(error)?;
    let (screen_width, screen_height) = (decoder.width().into(), decoder.height().into());
    let no_frame = || DecodeError::corrupt("it has no frame");
    let frame = decoder.next_frame_info().map_err(error)?.ok_or_else(no_frame)?;
    let (left, top) = (u32::from(frame.left), u32::from(frame.top));
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    limits.check(width, height)?;
    let fits = left + width <= screen_width && top + height <= screen_height;
    if fits {
        limits.check(screen_width, screen_height)?;
    }
    let mut picture = RgbaImage::new(width, height);
    decoder.read_into_buffer(&mut picture).map_err(error)?;
    if !fits || (width, height) == (screen_width, screen_height) {
        return Ok(picture);
    }
    let mut screen = RgbaImage::new(screen_width, screen_height);
    imageops::replace(&mut screen, &picture, left.into(), top.into());
    Ok(screen)
}

/// Pixels across and down.
type Size = (u32, u32);

/// The sizes of the screen and of the first frame.
///
/// # Errors
/// There is no such frame.
pub(super) fn sizes(bytes: &[u8]) -> Result<(Size, Size), DecodeError> {
    let mut decoder = DecodeOptions::new().read_info(bytes).map_err(error)?;
    let screen = (decoder.width().into(), decoder.height().into());
    let frame = decoder.next_frame_info().map_err(error)?;
    let frame = frame.ok_or_else(|| DecodeError::corrupt("it has no frame"))?;
    Ok((screen, (frame.width.into(), frame.height.into())))
}

fn error(error: DecodingError) -> DecodeError {
    DecodeError::corrupt(match error {
        DecodingError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "the file is truncated"
        }
        _ => "invalid image data",
    })
}
