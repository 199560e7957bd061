//! The three steps of a block of tiles, with AVX2: eight channels in a register.

#![allow(clippy::indexing_slicing, reason = "indices of arrays of constant size")]

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_loadu_ps,
    _mm256_max_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm256_sub_ps,
};

use super::{BLOCK, Kernel, LANES, PANEL, POINTS, Shape, TILE, Tile};

/// Inputs of a tile, in each direction: results and what the kernel covers around them.
const SIDE: usize = TILE + 2;
/// Tiles that are multiplied together: their sums and a panel's weights fill the registers.
const ROWS: usize = 6;

/// Transforms the inputs of tiles of a strip that begins at the row of tiles `first`. `to` is
/// `[36, BLOCK, inputs]`.
///
/// # Safety
/// The CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn transform_inputs(
    kernel: &Kernel,
    from: &[f32],
    shape: Shape,
    first: usize,
    tiles: &[Tile],
    to: &mut [f32],
) {
    let inputs = kernel.inputs;
    for (tile, &Tile { row, column }) in tiles.iter().enumerate() {
        let (top, left) = ((first + row) * TILE, column * TILE);
        for channel in (0..inputs).step_by(LANES) {
            let mut columns = [[_mm256_setzero_ps(); SIDE]; SIDE];
            for (x, column) in columns.iter_mut().enumerate() {
                let x = (left + x).wrapping_sub(shape.padding);
                let mut values = [_mm256_setzero_ps(); SIDE];
                for (y, value) in values.iter_mut().enumerate() {
                    let y = (top + y).wrapping_sub(shape.padding);
                    // What is padded, or behind the last result, is zero.
                    if y < shape.height && x < shape.width {
                        *value = load(&from[(y * shape.width + x) * inputs + channel..]);
                    }
                }
                *column = transformed_inputs(values);
            }
            for y in 0..SIDE {
                let [a, b, c, d, e, f] = columns;
                let row = transformed_inputs([a[y], b[y], c[y], d[y], e[y], f[y]]);
                for (x, value) in row.into_iter().enumerate() {
                    store(&mut to[((y * SIDE + x) * BLOCK + tile) * inputs + channel..], value);
                }
            }
        }
    }
}

/// Multiplies `tiles` transformed tiles with the kernel: `to` is `[36, BLOCK, outputs]`.
///
/// # Safety
/// The CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn multiply(kernel: &Kernel, tiles: usize, from: &[f32], to: &mut [f32]) {
    let (inputs, outputs) = (kernel.inputs, kernel.outputs);
    for point in 0..POINTS {
        for panel in 0..outputs / PANEL {
            let at = (point * (outputs / PANEL) + panel) * inputs * PANEL;
            let weights = &kernel.weights[at..at + inputs * PANEL];
            for first in (0..tiles).step_by(ROWS) {
                let rows = ROWS.min(tiles - first);
                let at = (point * BLOCK + first) * inputs;
                let from = &from[at..at + rows * inputs];
                let to = &mut to[(point * BLOCK + first) * outputs + panel * PANEL..];
                match rows {
                    1 => product::<1>(from, weights, to, outputs),
                    2 => product::<2>(from, weights, to, outputs),
                    3 => product::<3>(from, weights, to, outputs),
                    4 => product::<4>(from, weights, to, outputs),
                    5 => product::<5>(from, weights, to, outputs),
                    _ => product::<ROWS>(from, weights, to, outputs),
                }
            }
        }
    }
}

/// The rectified results of tiles of a strip, pooled if `shape` says so.
///
/// # Safety
/// The CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn transform_products(
    kernel: &Kernel,
    from: &[f32],
    shape: Shape,
    tiles: &[Tile],
    to: &mut [f32],
) {
    let outputs = kernel.outputs;
    let columns = shape.outputs().1;
    let rows = to.len() / (columns * outputs);
    let side = shape.tile_outputs();
    for (tile, &Tile { row, column }) in tiles.iter().enumerate() {
        let (top, left) = (row * side, column * side);
        for channel in (0..outputs).step_by(LANES) {
            let results = results(kernel, from, tile, channel);
            for y in 0..side.min(rows.saturating_sub(top)) {
                for x in 0..side.min(columns.saturating_sub(left)) {
                    let value = if shape.pooled {
                        let [upper, lower] = [results[2 * y], results[2 * y + 1]];
                        _mm256_max_ps(
                            _mm256_max_ps(upper[2 * x], upper[2 * x + 1]),
                            _mm256_max_ps(lower[2 * x], lower[2 * x + 1]),
                        )
                    } else {
                        results[y][x]
                    };
                    store(&mut to[((top + y) * columns + left + x) * outputs + channel..], value);
                }
            }
        }
    }
}

/// The rectified results of a tile, by row and column.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn results(kernel: &Kernel, from: &[f32], tile: usize, channel: usize) -> [[__m256; TILE]; TILE] {
    let mut columns = [[_mm256_setzero_ps(); TILE]; SIDE];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut values = [_mm256_setzero_ps(); SIDE];
        for (y, value) in values.iter_mut().enumerate() {
            *value = load(&from[((y * SIDE + x) * BLOCK + tile) * kernel.outputs + channel..]);
        }
        *column = transformed_products(values);
    }
    let bias = load(&kernel.bias[channel..]);
    let mut results = [[_mm256_setzero_ps(); TILE]; TILE];
    for (y, row) in results.iter_mut().enumerate() {
        let [a, b, c, d, e, f] = columns;
        *row = transformed_products([a[y], b[y], c[y], d[y], e[y], f[y]]);
        for value in row {
            // NaN stays NaN: it would be the second operand.
            *value = _mm256_max_ps(_mm256_setzero_ps(), _mm256_add_ps(*value, bias));
        }
    }
    results
}

/// Sums over the input channels for `N` tiles, `[N, inputs]`, and the output channels of a panel.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn product<const N: usize>(from: &[f32], weights: &[f32], to: &mut [f32], outputs: usize) {
    let inputs = weights.len() / PANEL;
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    let from = &from[..N * inputs];
    for (channel, weights) in weights.chunks_exact(PANEL).enumerate() {
        let (low, high) = (load(weights), load(&weights[LANES..]));
        for (tile, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `tile` is below N and `channel` below the number of inputs.
            let input = _mm256_broadcast_ss(unsafe { from.get_unchecked(tile * inputs + channel) });
            sums[0] = _mm256_fmadd_ps(input, low, sums[0]);
            sums[1] = _mm256_fmadd_ps(input, high, sums[1]);
        }
    }
    for (tile, sums) in sums.into_iter().enumerate() {
        store(&mut to[tile * outputs..], sums[0]);
        store(&mut to[tile * outputs + LANES..], sums[1]);
    }
}

/// A row or column of a tile's inputs at the six points.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn transformed_inputs([a, b, c, d, e, f]: [__m256; SIDE]) -> [__m256; SIDE] {
    let (two, four, five) = (_mm256_set1_ps(2.0), _mm256_set1_ps(4.0), _mm256_set1_ps(5.0));
    let even = _mm256_fnmadd_ps(four, c, e);
    let odd = _mm256_fnmadd_ps(four, b, d);
    let difference = _mm256_sub_ps(e, c);
    let twice = _mm256_mul_ps(two, _mm256_sub_ps(d, b));
    [
        _mm256_fmadd_ps(four, a, _mm256_fnmadd_ps(five, c, e)),
        _mm256_add_ps(even, odd),
        _mm256_sub_ps(even, odd),
        _mm256_add_ps(difference, twice),
        _mm256_sub_ps(difference, twice),
        _mm256_fmadd_ps(four, b, _mm256_fnmadd_ps(five, d, f)),
    ]
}

/// The results of a row or column of products at the six points.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn transformed_products([a, b, c, d, e, f]: [__m256; SIDE]) -> [__m256; TILE] {
    let (two, four, eight) = (_mm256_set1_ps(2.0), _mm256_set1_ps(4.0), _mm256_set1_ps(8.0));
    let (sum, difference) = (_mm256_add_ps(b, c), _mm256_sub_ps(b, c));
    let (sum_of_2, difference_of_2) = (_mm256_add_ps(d, e), _mm256_sub_ps(d, e));
    [
        _mm256_add_ps(_mm256_add_ps(a, sum), sum_of_2),
        _mm256_fmadd_ps(two, difference_of_2, difference),
        _mm256_fmadd_ps(four, sum_of_2, sum),
        _mm256_add_ps(_mm256_fmadd_ps(eight, difference_of_2, difference), f),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(from: &[f32]) -> __m256 {
    let from = &from[..LANES];
    // SAFETY: there are eight values.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(to: &mut [f32], value: __m256) {
    let to = &mut to[..LANES];
    // SAFETY: there is room for eight values.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
}
