//! JPEG, decoded to the pixels of libjpeg-turbo, or not at all.
//!
//! `libjpeg-turbo-rs` gives those pixels to the bit, whatever the process (baseline, extended,
//! progressive; Huffman or arithmetic coding), the restart intervals and the size. It is used in
//! its strict mode, in which a damaged or truncated scan is an error: libjpeg itself fills missing
//! data with grey and continues, and a model would learn from half grey images. [`structure`] adds
//! what the decoder does not report, and [`planes`] the sampling factors and scans that it does not
//! support.

mod planes;
mod quantization;
mod structure;

use image::{RgbImage, metadata::Orientation};
use libjpeg_turbo_rs::{ColorSpace, DecodeLimits, Decoder, JpegError, PixelFormat, ScalingFactor};

use self::structure::Structure;
use super::{
    error::{DecodeError, Limits},
    orientation,
    photo::{Detail, Photo, stored_size},
};

/// Far more scans than any encoder makes, and few enough that a small file of many scans of a large
/// image ends soon.
const MAX_SCANS: usize = 500;
/// Scales are eighths: a block of 8 × 8 pixels becomes one of so many.
const WHOLE: u32 = 8;

/// Decodes to pixels as they are stored, not yet rotated, and fewer than in the file if no more are needed.
///
/// # Errors
/// An unsupported kind of JPEG, one above `limits`, or one that is damaged or truncated.
pub(super) fn decode(bytes: &[u8], limits: &Limits, detail: Detail) -> Result<Photo, DecodeError> {
    let mut file = Structure::read(bytes)?;
    let latched = quantization::latched(&file);
    if let Some(latched) = &latched {
        file = Structure::read(latched)?;
    }
    let (width, height) = (u32::from(file.frame.width), u32::from(file.frame.height));
    limits.check(width, height)?;
    let bytes = file.complete()?;
    let orientation = orientation::of(file.exif, file.xmp);
    let limits = DecodeLimits { max_scans: MAX_SCANS, ..DecodeLimits::default() };
    let mut decoder = Decoder::new_with_limits(&bytes, limits).map_err(error)?;
    let colors = decoder.jpeg_color_space();
    // As libjpeg by default: it acts on progressive files that leave coefficients out.
    decoder.set_block_smoothing(true);

    if planes::are_needed(&file) {
        let mut image = RgbImage::new(width, height);
        planes::decode_into(&file, &bytes, colors, &mut image).map_err(error)?;
        return Ok(Photo::whole(image, orientation));
    }

    let eighths = eighths((width, height), detail, orientation);
    decoder.set_scale(scale(eighths)?);
    let size = [width, height].map(|side| f64::from(side * eighths) / f64::from(WHOLE));
    let [scaled_width, scaled_height] = size.map(|side| side.ceil() as u32);
    let image = if matches!(colors, ColorSpace::Cmyk | ColorSpace::Ycck) {
        decoder.set_output_format(PixelFormat::Cmyk);
        let inks = decoder.decode_image().map_err(error)?.data;
        let pixels = inks.as_chunks().0.iter().flat_map(|inks| cmyk_to_rgb(*inks)).collect();
        RgbImage::from_raw(scaled_width, scaled_height, pixels)
            .ok_or_else(|| DecodeError::corrupt("it has too few pixels"))?
    } else {
        decoder.set_output_format(PixelFormat::Rgb);
        let mut image = RgbImage::new(scaled_width, scaled_height);
        decoder.decode_image_into(&mut image).map_err(error)?;
        image
    };
    Ok(Photo { image, size: (size[0], size[1]), original: (width, height), orientation })
}

/// Bytes that [`decode`] takes at most.
///
/// # Errors
/// As [`decode`], where the header tells.
pub(super) fn memory(bytes: &[u8], limits: &Limits, detail: Detail) -> Result<u64, DecodeError> {
    let file = Structure::read(bytes)?;
    let size = (u32::from(file.frame.width), u32::from(file.frame.height));
    limits.check(size.0, size.1)?;
    let components = (file.frame.components.len() as u64).max(3);
    let pixels = u64::from(size.0) * u64::from(size.1);
    // Copies of the file: with an end marker, with its tables latched.
    let copies = 2 * bytes.len() as u64;
    if file.frame.is_progressive() || file.scans.len() > 1 || planes::are_needed(&file) {
        // All coefficients of 16 bits, or all planes, beside the image.
        return Ok(4 * components * pixels + copies);
    }
    let eighths = eighths(size, detail, orientation::of(file.exif, file.xmp));
    let [width, height] = [size.0, size.1].map(|side| u64::from((side * eighths).div_ceil(WHOLE)));
    // Planes that are decoded, and the image, whose sides end in whole blocks.
    let (width, height) = (width + u64::from(WHOLE), height + u64::from(WHOLE));
    Ok(2 * components * width * height + rows(components, size.0) + copies)
}

/// Bytes of the rows that are decoded at a time.
fn rows(components: u64, width: u32) -> u64 {
    64 * components * u64::from(width)
}

/// The smallest number of eighths of an image's sides with the pixels that are needed.
fn eighths(size: (u32, u32), detail: Detail, orientation: Orientation) -> u32 {
    let at_least = |width: u32, height: u32| {
        let least = stored_size(width, height, orientation);
        let needed = |side: u32, least: u32| (least * WHOLE).div_ceil(side.max(1));
        needed(size.0, least.0).max(needed(size.1, least.1)).clamp(1, WHOLE)
    };
    match detail {
        Detail::Whole => WHOLE,
        Detail::AtLeast(width, height) => at_least(width, height),
        Detail::Halved(width, height) => at_least(width, height).next_power_of_two(),
    }
}

/// The factor of so many eighths, in lowest terms as the decoder wants it.
fn scale(eighths: u32) -> Result<ScalingFactor, DecodeError> {
    let common = 1 << eighths.trailing_zeros().min(WHOLE.trailing_zeros());
    ScalingFactor::try_new(eighths / common, WHOLE / common).map_err(error)
}

/// Inks as Adobe stores them, inverted, on white paper.
fn cmyk_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|ink| {
        let product = u16::from(ink) * u16::from(black);
        ((product + 127) / 255) as u8
    })
}

fn error(error: JpegError) -> DecodeError {
    match error {
        JpegError::Unsupported(_) => {
            DecodeError::UnsupportedFormat("JPEG with unusual sampling factors or components")
        }
        JpegError::UnexpectedEof => DecodeError::corrupt("the file is truncated"),
        JpegError::LimitExceeded { .. } => DecodeError::corrupt("it has too many scans"),
        _ => DecodeError::corrupt("invalid image data"),
    }
}
