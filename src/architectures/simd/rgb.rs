//! Convolutions of an image's three channels, too few for [`super::winograd`]: direct, several results at a time, so that
//! pooling needs no maps in memory.

use super::register::Register;
use super::{Shape, values};
use crate::architectures::layers::Affine;

/// Input channels.
pub(super) const INPUTS: usize = 3;
/// Rows of results that are computed together.
pub(super) const TILE: usize = 2;
/// Columns of results that are computed together.
pub(super) const COLUMNS: usize = 6;
/// Values of a row of a kernel.
const SPAN: usize = 3 * INPUTS;

/// A kernel and its bias.
#[derive(Debug)]
pub(super) struct Kernel {
    outputs: usize,
    /// `[outputs / panel, 3 rows, 3 columns, 3, panel]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// Registers of output channels that are computed together, of so many lanes: their sums are kept in registers, of
/// which AVX-512 has twice as many.
pub(super) const fn registers(lanes: usize) -> usize {
    lanes / 8
}

impl Kernel {
    pub(super) fn of(affine: &Affine, lanes: usize) -> Self {
        let (outputs, panel) = (affine.weight.size()[0], (registers(lanes) * lanes) as i64);
        let weights = affine.weight.detach().contiguous();
        let weights = weights.view([outputs / panel, panel, INPUTS as i64, 3, 3]);
        Self {
            outputs: outputs as usize,
            weights: values(&weights.permute([0, 3, 4, 2, 1])),
            bias: values(&affine.bias.detach()),
        }
    }

    /// Applies it to `from`, `[height, width, 3]`, for pairs of rows of results from `first` on: as many as `to` has
    /// room for, `[rows, columns, outputs]`. There is no padding, and there are as many results in each direction as
    /// are computed together.
    ///
    /// # Safety
    /// The CPU has the instructions of `R`, and they are enabled where this is inlined. `REGISTERS` is [`registers`] of it.
    #[inline(always)]
    pub(super) unsafe fn forward<R: Register, const REGISTERS: usize>(
        &self,
        from: &[f32],
        shape: Shape,
        first: usize,
        to: &mut [f32],
    ) {
        let (outputs, stride, panel) = (self.outputs, shape.width * INPUTS, REGISTERS * R::LANES);
        let (columns, side) = (shape.outputs().1, shape.tile_outputs());
        // Results of a tile in a row.
        let width = if shape.pooled { COLUMNS / 2 } else { COLUMNS };
        for (tile, to) in to.chunks_mut(side * columns * outputs).enumerate() {
            // A single last row is computed again with the one before, and the last columns with those before.
            let top = (TILE * (first + tile)).min(shape.results().0 - TILE);
            let skipped = TILE * (first + tile) - top;
            let from = &from[top * stride..(top + TILE + 2) * stride];
            for panel_index in 0..outputs / panel {
                for left in (0..columns).step_by(width) {
                    let left = left.min(columns - width);
                    let at = left * COLUMNS / width * INPUTS;
                    // SAFETY: as this function.
                    unsafe {
                        let results = self.results::<R, REGISTERS>(from, stride, at, panel_index);
                        let mut put = |row: usize, column: usize, values: [R; REGISTERS]| {
                            let at =
                                (row * columns + left + column) * outputs + panel_index * panel;
                            for (number, value) in values.into_iter().enumerate() {
                                value.store(&mut to[at + number * R::LANES..]);
                            }
                        };
                        if shape.pooled {
                            for column in 0..width {
                                let [upper, lower] =
                                    results.map(|row| larger(row[2 * column], row[2 * column + 1]));
                                put(0, column, larger(upper, lower));
                            }
                        } else {
                            for (row, results) in results.into_iter().skip(skipped).enumerate() {
                                for (column, values) in results.into_iter().enumerate() {
                                    put(row, column, values);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The rectified results whose inputs begin in the first row of `from`, at its value `at`.
    #[inline(always)]
    unsafe fn results<R: Register, const REGISTERS: usize>(
        &self,
        from: &[f32],
        stride: usize,
        at: usize,
        panel_index: usize,
    ) -> [[[R; REGISTERS]; COLUMNS]; TILE] {
        let panel = REGISTERS * R::LANES;
        let bias = &self.bias[panel_index * panel..][..panel];
        let kernel = &self.weights[panel_index * 3 * SPAN * panel..][..3 * SPAN * panel];
        // SAFETY: as this function.
        unsafe {
            let mut sums = [[[R::zero(); REGISTERS]; COLUMNS]; TILE];
            for sums in sums.as_flattened_mut() {
                for (number, sum) in sums.iter_mut().enumerate() {
                    *sum = R::load(&bias[number * R::LANES..]);
                }
            }
            for row in 0..3 {
                let line = |row: usize| &from[row * stride + at..][..SPAN + (COLUMNS - 1) * INPUTS];
                let lines = [line(row), line(row + 1)];
                for tap in 0..SPAN {
                    let weights = &kernel[(row * SPAN + tap) * panel..][..panel];
                    let mut registers = [R::zero(); REGISTERS];
                    for (number, register) in registers.iter_mut().enumerate() {
                        *register = R::load(&weights[number * R::LANES..]);
                    }
                    for (sums, line) in sums.iter_mut().zip(lines) {
                        for (column, sums) in sums.iter_mut().enumerate() {
                            let input = R::splat(line[column * INPUTS + tap]);
                            for (sum, weights) in sums.iter_mut().zip(registers) {
                                *sum = sum.plus(input, weights);
                            }
                        }
                    }
                }
            }
            for sum in sums.as_flattened_mut().as_flattened_mut() {
                // NaN stays NaN: it would be the second operand.
                *sum = R::zero().max(*sum);
            }
            sums
        }
    }
}

/// The larger ones.
#[inline(always)]
unsafe fn larger<R: Register, const REGISTERS: usize>(
    mut one: [R; REGISTERS],
    other: [R; REGISTERS],
) -> [R; REGISTERS] {
    for (one, other) in one.iter_mut().zip(other) {
        // SAFETY: as this function.
        *one = unsafe { one.max(other) };
    }
    one
}
