//! How the bytes of an image become a network's input.

use serde::{Deserialize, Serialize};

/// How the bytes of an image become a network's input, for training and for predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Version of the rules by which bytes become pixels, [`Preprocessing::VERSION`] of the program
    /// that trained the network. Files from before version 4 don't have it.
    #[serde(default = "Preprocessing::unnamed_version")]
    pub version: u32,
    /// Width in pixels; the aspect ratio is not kept.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How images are resized.
    pub resize: Resize,
    /// How a byte becomes the network's input.
    pub normalise: Normalization,
}

impl Preprocessing {
    /// RGB in 0 to 1 at 180×180: the input of the small network.
    pub const UNIT_180: Self = Self::square(180, Normalization::UnitRange);

    /// Raised by each change of the pixels for the same bytes: of a decoder, of the orientation, of
    /// resizing. Cached pixels and features of another version are recomputed. A model of another
    /// version can still be used, as long as its canaries agree.
    ///
    /// | version | since |
    /// |---|---|
    /// | 4 | JPEGs give libjpeg-turbo's pixels; orientation also in XMP and in text chunks of PNG |
    /// | 3 | truncated JPEGs are rejected |
    pub const VERSION: u32 = 4;

    const fn unnamed_version() -> u32 {
        3
    }

    /// A square of `side` pixels, the version of this program.
    #[must_use]
    pub const fn square(side: u32, normalise: Normalization) -> Self {
        let (version, resize) = (Self::VERSION, Resize::BilinearAntialiased);
        Self { version, width: side, height: side, resize, normalise }
    }

    /// Bytes of one preprocessed image.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }
}

/// A way to resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Bilinear over the area that a target pixel covers (a triangle filter, as in Pillow), so that
    /// a large image and its thumbnail give the same pixels.
    BilinearAntialiased,
}

/// A way to turn RGB bytes into numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// RGB, divided by 255.
    UnitRange,
    /// BGR in 0 to 255, minus 103.939, 116.779 and 123.68: Keras' VGG16.
    Caffe,
    /// RGB divided by 255, minus 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225:
    /// torchvision's VGG16.
    Torch,
    /// RGB minus 127, divided by 128: EfficientNet-Lite0.
    Centred,
}
