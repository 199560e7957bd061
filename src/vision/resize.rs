//! Resizing to a given size without keeping the aspect ratio, bilinear, antialiased.
//!
//! The numbers are those of Pillow's `BILINEAR` to within 1 of 255: a triangle filter as wide as
//! the reduction, so that each pixel of the original counts. (A filter of fixed width, as GPUs
//! and old image libraries have it, skips pixels, and training on the one and predicting with
//! the other costs accuracy.)

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::RgbImage;

/// Why an image can't be resized: invalid arguments.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// The buffer does not match the size.
    #[error("{width}×{height} RGB needs {expected} bytes, got {found}")]
    Buffer {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Expected bytes.
        expected: usize,
        /// Bytes of the buffer.
        found: usize,
    },
    /// An image without pixels.
    #[error("can't resize an empty image")]
    NoPixels,
    /// The resizer failed.
    #[error("can't resize: {0}")]
    Refused(String),
}

/// Resizes to `width` × `height` without keeping the aspect ratio.
///
/// # Errors
/// An image or a size without pixels.
pub fn resize(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage, ResizeError> {
    let mut resized = RgbImage::new(width, height);
    resize_into(image, width, height, &mut resized)?;
    Ok(resized)
}

/// As [`resize`], into `out`: `[height, width, 3]`, one byte per channel.
///
/// # Errors
/// A buffer of another size, or no pixels.
pub fn resize_into(
    image: &RgbImage,
    width: u32,
    height: u32,
    out: &mut [u8],
) -> Result<(), ResizeError> {
    let whole = (image.width().into(), image.height().into());
    resize_part_into(image, whole, width, height, out)
}

/// As [`resize_into`], of the part of the image of this width and height from its upper left
/// corner; it may end within a pixel.
///
/// # Errors
/// As [`resize_into`], or a part that the image does not have.
pub fn resize_part_into(
    image: &RgbImage,
    part: (f64, f64),
    width: u32,
    height: u32,
    out: &mut [u8],
) -> Result<(), ResizeError> {
    let expected = width as usize * height as usize * 3;
    if out.len() != expected {
        return Err(ResizeError::Buffer { width, height, expected, found: out.len() });
    }
    if expected == 0 || image.is_empty() {
        return Err(ResizeError::NoPixels);
    }
    if image.dimensions() == (width, height) && part == (width.into(), height.into()) {
        out.copy_from_slice(image);
        return Ok(());
    }
    let refused = |error: &dyn std::fmt::Display| ResizeError::Refused(error.to_string());
    let (from_width, from_height) = image.dimensions();
    let from = ImageRef::new(from_width, from_height, image, PixelType::U8x3)
        .map_err(|error| refused(&error))?;
    let mut to = Image::from_slice_u8(width, height, out, PixelType::U8x3)
        .map_err(|error| refused(&error))?;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(0.0, 0.0, part.0, part.1);
    Resizer::new().resize(&from, &mut to, &options).map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_pillows() {
        let open = |name: &str| {
            let path = format!("{}/tests/fixtures/{name}.png", env!("CARGO_MANIFEST_DIR"));
            image::open(path).unwrap().into_rgb8()
        };
        let source = open("resize_source");
        for (width, height) in [(180, 180), (20, 30), (96, 13), (9, 8)] {
            let expected = open(&format!("resize_{width}x{height}"));
            let resized = resize(&source, width, height).unwrap();
            let difference =
                resized.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(difference <= 1, "{width}x{height}: {difference}");
        }
    }

    #[test]
    fn a_buffer_of_another_size_is_refused() {
        let image = RgbImage::new(4, 4);
        assert!(matches!(
            resize_into(&image, 2, 2, &mut [0; 11]),
            Err(ResizeError::Buffer { expected: 12, found: 11, .. })
        ));
        assert!(matches!(resize(&image, 0, 2), Err(ResizeError::NoPixels)));
    }

    #[test]
    fn an_image_of_the_size_asked_for_is_left_as_it_is() {
        let image = RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 7]));
        assert_eq!(resize(&image, 5, 3).unwrap(), image);
    }
}
