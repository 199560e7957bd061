//! What an image may cost, and why one can't be decoded.

/// What an image may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height at most.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 64 million pixels: a photo of any phone. What that takes in memory, see [`super::memory`].
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

/// Why bytes are no image that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There are none.
    #[error("the file is empty")]
    Empty,
    /// A format that is not read, by the name people know it by.
    #[error("this is {0}, which is not supported; send JPEG, PNG, WebP, GIF or BMP")]
    UnsupportedFormat(&'static str),
    /// Larger than the limit.
    #[error("the image has {width} × {height} pixels; the limit is {max} in all")]
    TooManyPixels {
        /// Pixels across, as stored.
        width: u32,
        /// Pixels down, as stored.
        height: u32,
        /// Pixels an image may have.
        max: u64,
    },
    /// It begins like an image and does not go on like one.
    #[error("the image is damaged: {0}")]
    Corrupt(String),
}

impl DecodeError {
    /// The stable word of the API.
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
