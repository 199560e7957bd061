//! Networks: layers and nothing else. What they train on and how is decided elsewhere.
//!
//! Used by the trainer, and by the thread that owns a model in the server.

pub mod cnn;

use tch::{Kind, Tensor};

pub use cnn::Cnn;

/// `tensor`, of four dimensions, with the same values laid out channels last: what convolutions
/// on the CPU and on CUDA's matrix units read without reordering.
pub fn channels_last(tensor: &Tensor) -> Tensor {
    tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// RGB bytes as a network takes them: `[n, height, width, 3]` in, `[n, 3, height, width]` of
/// `kind` in 0 to 1 out, channels last.
pub fn unit_range(pixels: &Tensor, kind: Kind) -> Tensor {
    pixels.permute([0, 3, 1, 2]).to_kind(kind) * (1.0 / 255.0)
}
