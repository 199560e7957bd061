//! The three steps of a block of tiles.

use super::{
    super::{Shape, register::Register},
    BLOCK, Kernel, POINTS, TILE, Tile, panel,
};

/// Inputs of a tile, in each direction: results and what the kernel covers around them.
const SIDE: usize = TILE + 2;

/// Transforms the inputs of tiles of a strip that begins at the row of tiles `first`. `to` is
/// `[36, BLOCK, inputs]`.
///
/// # Safety
/// As [`Register`].
#[inline(always)]
pub(super) unsafe fn transform_inputs<R: Register>(
    kernel: &Kernel,
    from: &[f32],
    shape: Shape,
    first: usize,
    tiles: &[Tile],
    to: &mut [f32],
) {
    // SAFETY: as this function.
    unsafe {
        let inputs = kernel.inputs;
        for (tile, &Tile { row, column }) in tiles.iter().enumerate() {
            let (top, left) = ((first + row) * TILE, column * TILE);
            for channel in (0..inputs).step_by(R::LANES) {
                let mut columns = [[R::zero(); SIDE]; SIDE];
                for (x, column) in columns.iter_mut().enumerate() {
                    let x = (left + x).wrapping_sub(shape.padding);
                    let mut values = [R::zero(); SIDE];
                    for (y, value) in values.iter_mut().enumerate() {
                        let y = (top + y).wrapping_sub(shape.padding);
                        // What is padded, or behind the last result, is zero.
                        if y < shape.height && x < shape.width {
                            *value = R::load(&from[(y * shape.width + x) * inputs + channel..]);
                        }
                    }
                    *column = transformed_inputs(values);
                }
                for y in 0..SIDE {
                    let [a, b, c, d, e, f] = columns;
                    let row = transformed_inputs([a[y], b[y], c[y], d[y], e[y], f[y]]);
                    for (x, value) in row.into_iter().enumerate() {
                        value.store(&mut to[((y * SIDE + x) * BLOCK + tile) * inputs + channel..]);
                    }
                }
            }
        }
    }
}

/// Multiplies `tiles` transformed tiles with the kernel: `to` is `[36, BLOCK, outputs]`.
///
/// # Safety
/// As [`Register`].
#[inline(always)]
pub(super) unsafe fn multiply<R: Register>(
    kernel: &Kernel,
    tiles: usize,
    from: &[f32],
    to: &mut [f32],
) {
    let (inputs, outputs, panel) = (kernel.inputs, kernel.outputs, panel(R::LANES));
    // In equal parts: a few tiles at the end would wait for weights.
    let rows = tiles.div_ceil(tiles.div_ceil(R::PAIRS));
    for point in 0..POINTS {
        for panel_index in 0..outputs / panel {
            let at = (point * (outputs / panel) + panel_index) * inputs * panel;
            let weights = &kernel.weights[at..at + inputs * panel];
            for first in (0..tiles).step_by(rows) {
                let rows = rows.min(tiles - first);
                let at = (point * BLOCK + first) * inputs;
                let from = &from[at..at + rows * inputs];
                let to = &mut to[(point * BLOCK + first) * outputs + panel_index * panel..];
                // SAFETY: as this function.
                unsafe { products::<R>(rows, from, weights, to, outputs) };
            }
        }
    }
}

/// [`product`] of so many tiles.
#[inline(always)]
unsafe fn products<R: Register>(
    tiles: usize,
    from: &[f32],
    weights: &[f32],
    to: &mut [f32],
    outputs: usize,
) {
    macro_rules! product {
        ($($tiles:literal)*) => {
            match tiles {
                $($tiles => product::<R, $tiles>(from, weights, to, outputs),)*
                _ => unreachable!("more tiles than sums"),
            }
        };
    }
    // SAFETY: as this function.
    unsafe { product!(1 2 3 4 5 6 7 8 9 10 11 12) }
}

/// The rectified results of tiles of a strip, pooled if `shape` says so.
///
/// # Safety
/// As [`Register`].
#[inline(always)]
pub(super) unsafe fn transform_products<R: Register>(
    kernel: &Kernel,
    from: &[f32],
    shape: Shape,
    tiles: &[Tile],
    to: &mut [f32],
) {
    // SAFETY: as this function.
    unsafe {
        let outputs = kernel.outputs;
        let columns = shape.outputs().1;
        let rows = to.len() / (columns * outputs);
        let side = shape.tile_outputs();
        for (tile, &Tile { row, column }) in tiles.iter().enumerate() {
            let (top, left) = (row * side, column * side);
            for channel in (0..outputs).step_by(R::LANES) {
                let results = results::<R>(kernel, from, tile, channel);
                for y in 0..side.min(rows.saturating_sub(top)) {
                    for x in 0..side.min(columns.saturating_sub(left)) {
                        let value = if shape.pooled {
                            let [upper, lower] = [results[2 * y], results[2 * y + 1]];
                            upper[2 * x]
                                .max(upper[2 * x + 1])
                                .max(lower[2 * x].max(lower[2 * x + 1]))
                        } else {
                            results[y][x]
                        };
                        value
                            .store(&mut to[((top + y) * columns + left + x) * outputs + channel..]);
                    }
                }
            }
        }
    }
}

/// The rectified results of a tile, by row and column.
#[inline(always)]
unsafe fn results<R: Register>(
    kernel: &Kernel,
    from: &[f32],
    tile: usize,
    channel: usize,
) -> [[R; TILE]; TILE] {
    // SAFETY: as this function.
    unsafe {
        let mut columns = [[R::zero(); TILE]; SIDE];
        for (x, column) in columns.iter_mut().enumerate() {
            let mut values = [R::zero(); SIDE];
            for (y, value) in values.iter_mut().enumerate() {
                *value =
                    R::load(&from[((y * SIDE + x) * BLOCK + tile) * kernel.outputs + channel..]);
            }
            *column = transformed_products(values);
        }
        let bias = R::load(&kernel.bias[channel..]);
        let mut results = [[R::zero(); TILE]; TILE];
        for (y, row) in results.iter_mut().enumerate() {
            let [a, b, c, d, e, f] = columns;
            *row = transformed_products([a[y], b[y], c[y], d[y], e[y], f[y]]);
            for value in row {
                // NaN stays NaN: it would be the second operand.
                *value = R::zero().max(value.add(bias));
            }
        }
        results
    }
}

/// Sums over the input channels for `N` tiles, `[N, inputs]`, and the output channels of a panel.
#[inline(always)]
unsafe fn product<R: Register, const N: usize>(
    from: &[f32],
    weights: &[f32],
    to: &mut [f32],
    outputs: usize,
) {
    // SAFETY: as this function.
    unsafe {
        let inputs = weights.len() / panel(R::LANES);
        let mut sums = [[R::zero(); 2]; N];
        let from = &from[..N * inputs];
        for (channel, weights) in weights.chunks_exact(panel(R::LANES)).enumerate() {
            let (low, high) = (R::load(weights), R::load(&weights[R::LANES..]));
            for (tile, sums) in sums.iter_mut().enumerate() {
                // `tile` is below N and `channel` below the number of inputs.
                let input = R::splat(*from.get_unchecked(tile * inputs + channel));
                sums[0] = sums[0].plus(input, low);
                sums[1] = sums[1].plus(input, high);
            }
        }
        for (tile, sums) in sums.into_iter().enumerate() {
            sums[0].store(&mut to[tile * outputs..]);
            sums[1].store(&mut to[tile * outputs + R::LANES..]);
        }
    }
}

/// A row or column of a tile's inputs at the six points.
#[inline(always)]
unsafe fn transformed_inputs<R: Register>([a, b, c, d, e, f]: [R; SIDE]) -> [R; SIDE] {
    // SAFETY: as this function.
    unsafe {
        let (two, four, five) = (R::splat(2.0), R::splat(4.0), R::splat(5.0));
        let even = e.minus(four, c);
        let odd = d.minus(four, b);
        let difference = e.sub(c);
        let twice = two.mul(d.sub(b));
        [
            e.minus(five, c).plus(four, a),
            even.add(odd),
            even.sub(odd),
            difference.add(twice),
            difference.sub(twice),
            f.minus(five, d).plus(four, b),
        ]
    }
}

/// The results of a row or column of products at the six points.
#[inline(always)]
unsafe fn transformed_products<R: Register>([a, b, c, d, e, f]: [R; SIDE]) -> [R; TILE] {
    // SAFETY: as this function.
    unsafe {
        let (two, four, eight) = (R::splat(2.0), R::splat(4.0), R::splat(8.0));
        let (sum, difference) = (b.add(c), b.sub(c));
        let (sum_of_2, difference_of_2) = (d.add(e), d.sub(e));
        [
            a.add(sum).add(sum_of_2),
            difference.plus(two, difference_of_2),
            sum.plus(four, sum_of_2),
            difference.plus(eight, difference_of_2).add(f),
        ]
    }
}
