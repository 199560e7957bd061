//! Pixels on their way: as a decoder gives them, not yet upright.

use image::{DynamicImage, RgbImage, metadata::Orientation};

/// Pixels as a decoder gives them.
pub(super) struct Photo {
    pub(super) image: RgbImage,
    /// Its width and height in pixels; if these are not whole, the rest of the last column or row
    /// of `image` is not part of the photo.
    pub(super) size: (f64, f64),
    /// Width and height in pixels in the file, of which `image` may have fewer.
    pub(super) original: (u32, u32),
    /// Its orientation.
    pub(super) orientation: Orientation,
}

impl Photo {
    /// One of which every pixel was decoded.
    pub(super) fn whole(image: RgbImage, orientation: Orientation) -> Self {
        let original = image.dimensions();
        let size = (original.0.into(), original.1.into());
        Self { image, size, original, orientation }
    }
}

/// How many pixels of a photo are needed, across and down in upright orientation. A decoder may skip the others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Detail {
    /// All of them.
    Whole,
    /// At least so many.
    AtLeast(u32, u32),
    /// At least so many, of sides that are halved up to three times: smaller photos are decoded whole.
    Halved(u32, u32),
}

/// Makes an image upright.
pub(super) fn apply_orientation(image: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return image;
    }
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    image.into_rgb8()
}

const fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// Width and height in pixels as stored, before the EXIF orientation is applied, from the upright ones.
pub(super) const fn stored_size(width: u32, height: u32, orientation: Orientation) -> (u32, u32) {
    if swaps_sides(orientation) { (height, width) } else { (width, height) }
}
