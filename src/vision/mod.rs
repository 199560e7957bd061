//! From encoded bytes to pixels: the one path that uploads, training, evaluation and prediction
//! share, so that a model never sees a photo in another form than the one it learned from.
//!
//! Pure functions of their input, called from any thread that may block; none of them panics,
//! whatever the bytes.

pub mod decode;
mod format;
mod jpeg;
mod png;
mod prepare;
pub mod resize;

pub use decode::{DecodeError, Info, Limits, decode, inspect};
pub use format::Format;
pub use prepare::{PrepareError, prepare, prepare_into};
pub use resize::{ResizeError, resize, resize_into};
