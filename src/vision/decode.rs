//! Decoding: whatever the file, upright 8-bit RGB comes out, or a reason why not.
//!
//! | in the file | what becomes of it |
//! |---|---|
//! | orientation, in EXIF or XMP | applied: a model should not learn how people hold cameras |
//! | CMYK, YCCK | to RGB by the usual Adobe convention (inverted inks, no profile) |
//! | 16 bits a channel | rounded to 8 |
//! | grey, palette | spread over three channels |
//! | transparency | laid over white: the colour under a transparent pixel is arbitrary, often black, and white is what a person saw behind it when the picture was cut out |
//! | animation | its first frame |
//! | colour profile | ignored, as the libraries do that the reference recipes were written with |

use std::{
    error::Error,
    io::{self, Cursor},
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Rgb, RgbImage, RgbaImage,
    metadata::Orientation,
};

use super::{
    error::{DecodeError, Limits},
    format::Format,
    gif, jpeg, orientation,
    photo::{Photo, turned},
    png, webp,
};

/// Decodes an image to upright 8-bit RGB, `[height, width, 3]`. What it says of its size is held
/// against `limits` before any memory is taken for its pixels.
///
/// # Errors
/// No image, one above the limits, or one that can't be decoded to its last pixel.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, DecodeError> {
    decode_photo(bytes, limits, None).map(|photo| turned(photo.image, photo.orientation))
}

/// As [`decode`], but not turned, and perhaps of fewer pixels, where it is said of how many there
/// must be at `least`, across and down when it is upright.
pub(super) fn decode_photo(
    bytes: &[u8],
    limits: &Limits,
    least: Option<(u32, u32)>,
) -> Result<Photo, DecodeError> {
    let format = Format::sniff(bytes)?;
    guarded(|| match format {
        Format::Jpeg => jpeg::decode(bytes, limits, least),
        Format::Png => {
            if let Some((width, height)) = png::size(bytes) {
                limits.check(width, height)?;
            }
            let (exif, xmp) = png::metadata(bytes);
            let image = other(bytes, ImageFormat::Png, limits)?;
            if !png::is_whole(bytes) {
                return Err(DecodeError::corrupt("the file ends before the image does"));
            }
            Ok(Photo::whole(flatten(image), orientation::of(exif.as_deref(), xmp.as_deref())))
        }
        Format::WebP => {
            let (exif, xmp) = webp::metadata(bytes);
            let image = other(bytes, ImageFormat::WebP, limits)?;
            Ok(Photo::whole(flatten(image), orientation::of(exif, xmp)))
        }
        Format::Gif => {
            let image = gif::decode(bytes, limits)?;
            Ok(Photo::whole(over_white(&image), Orientation::NoTransforms))
        }
        Format::Bmp => {
            let image = other(bytes, ImageFormat::Bmp, limits)?;
            Ok(Photo::whole(flatten_bmp(image), Orientation::NoTransforms))
        }
    })
}

/// A decoder that panics on hostile bytes costs this image, not the thread it came in on.
fn guarded<T>(work: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(DecodeError::corrupt("the decoder gave up on it")))
}

/// Decodes by the `image` crate.
fn other(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<DynamicImage, DecodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = image::Limits::no_limits();
    // 16-bit RGBA, and room for small images' tables.
    memory.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(16 << 20));
    reader.limits(memory);
    let decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height)?;
    DynamicImage::from_decoder(decoder).map_err(refused)
}

/// In words for people: those of the decoders are about their own insides.
pub(super) fn refused(error: ImageError) -> DecodeError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return DecodeError::corrupt("the file ends before the image does");
        }
        cause = error.source();
    }
    DecodeError::corrupt(match error {
        ImageError::Unsupported(_) => "it uses a feature of its format that is not supported",
        ImageError::Limits(_) => "it needs more memory than an image may",
        _ => "its data is not valid",
    })
}

fn flatten(image: DynamicImage) -> RgbImage {
    if image.color().has_alpha() { over_white(&image.into_rgba8()) } else { image.into_rgb8() }
}

/// A bitmap that is transparent everywhere was written by a program that knows of no transparency.
fn flatten_bmp(image: DynamicImage) -> RgbImage {
    match image {
        DynamicImage::ImageRgba8(image) if image.pixels().all(|pixel| pixel.0[3] == 0) => {
            DynamicImage::ImageRgba8(image).into_rgb8()
        }
        other => flatten(other),
    }
}

fn over_white(image: &RgbaImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let mut flat = RgbImage::new(width, height);
    for (to, from) in flat.pixels_mut().zip(image.pixels()) {
        let [red, green, blue, alpha] = from.0;
        *to = Rgb([red, green, blue].map(|channel| mix_with_white(channel, alpha)));
    }
    flat
}

fn mix_with_white(channel: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let mixed = (u32::from(channel) * alpha + 255 * (255 - alpha) + 127) / 255;
    u8::try_from(mixed).unwrap_or(u8::MAX)
}
