//! From encoded bytes to pixels: the one path that training, evaluation and prediction share.
//!
//! Pure functions of their input, called from any thread.

pub mod decode;
pub mod resize;

pub use decode::{DecodeError, Limits, decode};
