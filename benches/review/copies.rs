//! Copies of a photo as they come about: resized, encoded again, cropped a little, mirrored.

use image::{RgbImage, codecs::jpeg::JpegEncoder, imageops};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::Result;

/// What is done to a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Resized,
    Encoded,
    Cropped,
    Mirrored,
    /// All of them.
    All,
}

pub(crate) const KINDS: [Kind; 5] =
    [Kind::Resized, Kind::Encoded, Kind::Cropped, Kind::Mirrored, Kind::All];

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Resized => "resized",
            Self::Encoded => "re-encoded",
            Self::Cropped => "cropped",
            Self::Mirrored => "mirrored",
            Self::All => "all of these",
        }
    }
}

/// A copy, and the JPEG quality to store it with.
pub(crate) fn copy(pixels: &RgbImage, kind: Kind, generator: &mut ChaCha8Rng) -> (RgbImage, u8) {
    let (width, height) = (pixels.width() as f32, pixels.height() as f32);
    match kind {
        Kind::Resized => {
            let scale = generator.random_range(0.4..0.8);
            let (width, height) = ((width * scale) as u32, (height * scale) as u32);
            (imageops::resize(pixels, width, height, imageops::FilterType::Lanczos3), 92)
        }
        Kind::Encoded => (pixels.clone(), generator.random_range(25..50)),
        Kind::Cropped => {
            let [left, top, right, bottom]: [f32; 4] =
                std::array::from_fn(|_| generator.random_range(0.0..0.08));
            let part = imageops::crop_imm(
                pixels,
                (width * left) as u32,
                (height * top) as u32,
                (width * (1.0 - left - right)) as u32,
                (height * (1.0 - top - bottom)) as u32,
            );
            (part.to_image(), 90)
        }
        Kind::Mirrored => (imageops::flip_horizontal(pixels), 90),
        Kind::All => {
            let (mirrored, _) = copy(pixels, Kind::Mirrored, generator);
            let (cropped, _) = copy(&mirrored, Kind::Cropped, generator);
            (copy(&cropped, Kind::Resized, generator).0, 60)
        }
    }
}

/// A JPEG of it.
pub(crate) fn encode(pixels: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(pixels)?;
    Ok(bytes)
}
