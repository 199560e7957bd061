//! Limits of images, and why one can't be decoded.

/// What an image may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum width times height.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 64 million pixels: any phone's photos. For the memory that takes, see [`super::memory`].
    fn default() -> Self {
        Self { max_pixels: 64_000_000 }
    }
}

impl Limits {
    /// Whether an image of that size may be decoded.
    pub(super) fn check(&self, width: u32, height: u32) -> Result<(), DecodeError> {
        if width == 0 || height == 0 {
            return Err(DecodeError::corrupt("it has no pixels"));
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(DecodeError::TooManyPixels { width, height, max: self.max_pixels });
        }
        Ok(())
    }
}

/// Why a file can't be used as an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// An unsupported format, by its common name.
    #[error("unsupported format ({0}); use JPEG, PNG, WebP, GIF or BMP")]
    UnsupportedFormat(&'static str),
    /// Larger than the limit.
    #[error("the image is {width}×{height} pixels; the limit is {max} pixels in total")]
    TooManyPixels {
        /// Width in pixels, as stored.
        width: u32,
        /// Height in pixels, as stored.
        height: u32,
        /// Maximum number of pixels.
        max: u64,
    },
    /// It begins like an image but is damaged.
    #[error("the image is damaged: {0}")]
    Corrupt(String),
}

impl DecodeError {
    /// The stable error code of the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_file",
            Self::UnsupportedFormat(_) => "unsupported_type",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::Corrupt(_) => "corrupt_image",
        }
    }

    pub(super) fn corrupt(reason: impl ToString) -> Self {
        Self::Corrupt(reason.to_string())
    }
}
