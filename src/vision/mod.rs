//! From encoded bytes to pixels: the one path that uploads, training, evaluation and prediction
//! share, so that a model always gets images in the form it was trained on.
//!
//! Pure functions of their input, called from any thread that may block; none of them panics,
//! whatever the bytes.

pub mod decode;
pub mod error;
mod format;
mod gif;
mod jpeg;
pub mod memory;
mod orientation;
mod photo;
mod png;
mod prepare;
pub mod resize;
mod webp;

pub use decode::decode;
pub use error::{DecodeError, Limits};
pub use format::Format;
pub use memory::{decoding_memory, shrinking_memory};
pub use prepare::{PrepareError, Shrunk, prepare, prepare_into, prepare_with_picture, shrink};
pub use resize::{ResizeError, resize, resize_into};
