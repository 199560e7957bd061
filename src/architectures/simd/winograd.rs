//! Minimal filtering: F(4×4, 3×3) of A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
//!
//! Each tile of 4×4 results takes 36 products for a pair of channels instead of 144. oneDNN, OpenVINO and ONNX
//! Runtime compute such convolutions directly on x86-64.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use super::register::Register;
use super::{Shape, values};
use crate::architectures::layers::Affine;

mod steps;

/// Results of a tile, in each direction.
pub(super) const TILE: usize = 4;
/// Points at which a tile is multiplied: 6×6.
const POINTS: usize = 36;
/// Tiles, at most, whose intermediate values are in the cache at a time. No multiple of eight, with which those of all
/// points would fall into a few sets of the cache.
pub(super) const BLOCK: usize = 45;

thread_local! {
    /// Transformed inputs and products of a block.
    static SCRATCH: RefCell<(Vec<f32>, Vec<f32>)> = RefCell::default();
}

/// A transformed kernel and its bias.
#[derive(Debug)]
pub(super) struct Kernel {
    inputs: usize,
    outputs: usize,
    /// `[36, outputs / panel, inputs, panel]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// Where a tile is, among those of a strip.
#[derive(Debug, Clone, Copy)]
struct Tile {
    row: usize,
    column: usize,
}

/// Output channels that are computed together, with registers of so many lanes.
pub(super) const fn panel(lanes: usize) -> usize {
    2 * lanes
}

impl Kernel {
    pub(super) fn of(affine: &Affine, lanes: usize) -> Self {
        /// Values of a kernel's row at six points: 0, 1, -1, 2, -2 and infinity, scaled.
        const ROWS: [[f64; 3]; 6] = [
            [1.0 / 4.0, 0.0, 0.0],
            [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
            [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
            [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
            [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
            [0.0, 0.0, 1.0],
        ];
        let size = affine.weight.size();
        let (outputs, inputs, panel) = (size[0], size[1], panel(lanes) as i64);
        let rows = Tensor::from_slice(ROWS.as_flattened()).view([6, 3]);
        let weights = affine.weight.detach().to_kind(Kind::Double);
        // [outputs, inputs, 6, 6]
        let points = rows.matmul(&weights).matmul(&rows.transpose(0, 1));
        let panels = points
            .view([outputs / panel, panel, inputs, POINTS as i64])
            .permute([3, 0, 2, 1])
            .to_kind(Kind::Float);
        Self {
            inputs: inputs as usize,
            outputs: outputs as usize,
            weights: values(&panels),
            bias: values(&affine.bias.detach()),
        }
    }

    /// Applies it to `from`, `[height, width, inputs]`, for rows of tiles from `first` on: as many as `to` has room
    /// for, `[rows, columns, outputs]`.
    ///
    /// # Safety
    /// The CPU has the instructions of `R`, and they are enabled where this is inlined.
    #[inline(always)]
    pub(super) unsafe fn forward<R: Register>(
        &self,
        from: &[f32],
        shape: Shape,
        first: usize,
        to: &mut [f32],
    ) {
        let rows = to.len() / (shape.outputs().1 * self.outputs);
        let tile_rows = rows.div_ceil(shape.tile_outputs());
        let tiles: Vec<_> = (0..tile_rows)
            .flat_map(|row| (0..shape.tiles().1).map(move |column| Tile { row, column }))
            .collect();
        let mut scratch = SCRATCH.take();
        let (transformed, products) = &mut scratch;
        for (values, channels) in [(&mut *transformed, self.inputs), (&mut *products, self.outputs)]
        {
            let needed = POINTS * BLOCK * channels;
            if values.len() < needed {
                values.resize(needed, 0.0);
            }
        }
        for tiles in tiles.chunks(BLOCK) {
            // SAFETY: as this function.
            unsafe {
                steps::transform_inputs::<R>(self, from, shape, first, tiles, transformed);
                steps::multiply::<R>(self, tiles.len(), transformed, products);
                steps::transform_products::<R>(self, products, shape, tiles, to);
            }
        }
        SCRATCH.set(scratch);
    }
}
