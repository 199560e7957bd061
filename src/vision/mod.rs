//! From encoded bytes to pixels: the one path that uploads, training, evaluation and prediction
//! share, so that a model never sees a photo in another form than the one it learned from.
//!
//! Pure functions of their input, called from any thread that may block; none of them panics,
//! whatever the bytes.

/// Raised by each change that gives other pixels for the same bytes, or none, so that decoded images
/// which were kept are decoded anew.
pub const VERSION: u32 = 3;

pub mod decode;
mod format;
mod jpeg;
mod png;
mod prepare;
pub mod resize;

pub use decode::{DecodeError, Info, Limits, decode, inspect};
pub use format::Format;
pub use prepare::{PrepareError, prepare, prepare_into, prepare_with_picture};
pub use resize::{ResizeError, resize, resize_into};
