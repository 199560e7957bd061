//! Decoding: every file gives upright 8-bit RGB, or an error.
//!
//! | in the file | result |
//! |---|---|
//! | orientation, in EXIF or XMP | applied |
//! | CMYK, YCCK | to RGB by the usual Adobe convention (inverted inks, no profile) |
//! | 16 bits a channel | rounded to 8 |
//! | grey, palette | spread over three channels |
//! | transparency | blended over white: the colour under a transparent pixel is arbitrary, often black, and a person would usually see it on white |
//! | animation | its first frame |
//! | colour profile | ignored, as in the libraries of the reference recipes |

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
    photo::{Detail, Photo, apply_orientation},
    png, webp,
};

/// Decodes an image to upright 8-bit RGB, `[height, width, 3]`. The declared size is checked
/// against `limits` before any memory is allocated for its pixels.
///
/// # Errors
/// It is not a supported image, is above the limits, or can't be decoded to its last pixel.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, DecodeError> {
    decode_photo(bytes, limits, Detail::Whole)
        .map(|photo| apply_orientation(photo.image, photo.orientation))
}

/// As [`decode`], but not rotated, and with fewer pixels if no more are needed.
pub(super) fn decode_photo(
    bytes: &[u8],
    limits: &Limits,
    detail: Detail,
) -> Result<Photo, DecodeError> {
    let format = Format::sniff(bytes)?;
    catch_panic(|| match format {
        Format::Jpeg => jpeg::decode(bytes, limits, detail),
        Format::Png => {
            if let Some((width, height)) = png::size(bytes) {
                limits.check(width, height)?;
            }
            let (exif, xmp) = png::metadata(bytes);
            let image = decode_with_image_crate(bytes, ImageFormat::Png, limits)?;
            if !png::is_whole(bytes) {
                return Err(DecodeError::corrupt("the file is truncated"));
            }
            Ok(Photo::whole(flatten(image), orientation::of(exif.as_deref(), xmp.as_deref())))
        }
        Format::WebP => {
            let (exif, xmp) = webp::metadata(bytes);
            let image = decode_with_image_crate(bytes, ImageFormat::WebP, limits)?;
            Ok(Photo::whole(flatten(image), orientation::of(exif, xmp)))
        }
        Format::Gif => {
            let image = gif::decode(bytes, limits)?;
            Ok(Photo::whole(flatten_onto_white(&image), Orientation::NoTransforms))
        }
        Format::Bmp => {
            let image = decode_with_image_crate(bytes, ImageFormat::Bmp, limits)?;
            Ok(Photo::whole(flatten_bmp(image), Orientation::NoTransforms))
        }
    })
}

/// A decoder that panics on hostile bytes fails this image, not the thread.
fn catch_panic<T>(work: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(DecodeError::corrupt("the decoder failed")))
}

/// Decodes by the `image` crate.
fn decode_with_image_crate(
    bytes: &[u8],
    format: ImageFormat,
    limits: &Limits,
) -> Result<DynamicImage, DecodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = image::Limits::no_limits();
    // 16-bit RGBA, and room for small images' tables.
    memory.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(16 << 20));
    reader.limits(memory);
    let decoder = reader.into_decoder().map_err(corrupt_image)?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height)?;
    DynamicImage::from_decoder(decoder).map_err(corrupt_image)
}

/// A readable message: those of the decoders describe their internals.
pub(super) fn corrupt_image(error: ImageError) -> DecodeError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return DecodeError::corrupt("the file is truncated");
        }
        cause = error.source();
    }
    DecodeError::corrupt(match error {
        ImageError::Unsupported(_) => "it uses an unsupported feature of its format",
        ImageError::Limits(_) => "decoding needs too much memory",
        _ => "invalid image data",
    })
}

fn flatten(image: DynamicImage) -> RgbImage {
    if image.color().has_alpha() {
        flatten_onto_white(&image.into_rgba8())
    } else {
        image.into_rgb8()
    }
}

/// A bitmap that is transparent everywhere was written by a program without support for
/// transparency.
fn flatten_bmp(image: DynamicImage) -> RgbImage {
    match image {
        DynamicImage::ImageRgba8(image) if image.pixels().all(|pixel| pixel.0[3] == 0) => {
            DynamicImage::ImageRgba8(image).into_rgb8()
        }
        other => flatten(other),
    }
}

fn flatten_onto_white(image: &RgbaImage) -> RgbImage {
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
