//! 3×3 convolutions by minimal filtering: F(4×4, 3×3) of A. Lavin and S. Gray, "Fast Algorithms for Convolutional
//! Neural Networks" (2015).
//!
//! Each tile of 4×4 results takes 36 products for a pair of channels instead of 144. oneDNN, OpenVINO and ONNX
//! Runtime compute such convolutions directly where a CPU has AVX2 only.

use std::{
    cell::RefCell,
    slice,
    sync::{Arc, OnceLock},
};

use tch::{Device, Kind, Tensor};

use super::layers::{Affine, Window};

#[cfg(target_arch = "x86_64")]
mod avx2;
mod parallel;

/// Results of a tile, in each direction.
const TILE: usize = 4;
/// Points at which a tile is multiplied: 6×6.
const POINTS: usize = 36;
/// Input channels that are transformed together.
const LANES: usize = 8;
/// Output channels that are computed together.
const PANEL: usize = 16;
/// Tiles, at most, whose intermediate values are in the cache at a time.
const BLOCK: usize = 48;
/// Fewer tiles are left to a direct convolution: the transformed kernel, four times as large, would be read for few
/// products.
const MIN_TILES: usize = 16;

thread_local! {
    /// Transformed inputs and products of a block.
    static SCRATCH: RefCell<(Vec<f32>, Vec<f32>)> = RefCell::default();
}

/// An image, the first of the rows of tiles that a thread computes at a time, and the results of these rows.
type Strip<'a> = (&'a [f32], usize, &'a mut [f32]);

/// A 3×3 convolution with a stride of 1, in fp32, followed by a ReLU.
#[derive(Debug)]
pub(super) struct Winograd {
    affine: Affine,
    /// Zeros on each side of the input.
    padding: usize,
    /// Transformed when it is first used.
    kernel: Arc<OnceLock<Kernel>>,
}

/// A transformed kernel and its bias.
#[derive(Debug)]
struct Kernel {
    inputs: usize,
    outputs: usize,
    /// `[36, outputs / 16, inputs, 16]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// The maps that a kernel is applied to, and what becomes of the results.
#[derive(Debug, Clone, Copy)]
struct Shape {
    height: usize,
    width: usize,
    padding: usize,
    /// Followed by 2×2 max pooling.
    pooled: bool,
}

impl Shape {
    /// Rows and columns before pooling.
    const fn results(self) -> (usize, usize) {
        (self.height + 2 * self.padding - 2, self.width + 2 * self.padding - 2)
    }

    /// Rows and columns.
    const fn outputs(self) -> (usize, usize) {
        let (height, width) = self.results();
        if self.pooled { (height / 2, width / 2) } else { (height, width) }
    }

    /// Rows and columns of tiles: none where pooling leaves nothing.
    const fn tiles(self) -> (usize, usize) {
        let ((height, width), side) = (self.outputs(), self.tile_outputs());
        (height.div_ceil(side), width.div_ceil(side))
    }

    /// Rows, or columns, of a tile after pooling.
    const fn tile_outputs(self) -> usize {
        if self.pooled { TILE / 2 } else { TILE }
    }

    /// Rows of tiles that a thread computes at a time: few enough for all to have something to do until the end,
    /// and else as many as there may be, because the kernel is read for each strip.
    fn strip_rows(self, images: usize, threads: usize) -> usize {
        let (rows, columns) = self.tiles();
        let share = if threads == 1 { rows } else { (images * rows).div_ceil(2 * threads) };
        share.min(BLOCK / columns).max(1)
    }
}

/// Where a tile is, among those of a strip.
#[derive(Debug, Clone, Copy)]
struct Tile {
    row: usize,
    column: usize,
}

impl Winograd {
    /// The convolution of `affine` and a ReLU. `None` if it can't be computed so, or not on this CPU.
    pub(super) fn new(affine: &Affine, window: Window) -> Option<Self> {
        let Affine { weight, bias } = affine;
        let [outputs, inputs, 3, 3] = weight.size()[..] else { return None };
        let fits = window.stride == 1
            && window.groups == 1
            && (inputs as usize).is_multiple_of(LANES)
            && (outputs as usize).is_multiple_of(PANEL)
            && weight.kind() == Kind::Float
            && weight.device() == Device::Cpu
            && cpu_has_avx2();
        let affine = Affine { weight: weight.shallow_clone(), bias: bias.shallow_clone() };
        let padding = usize::try_from(window.padding).ok()?;
        fits.then(|| Self { affine, padding, kernel: Arc::default() })
    }

    /// As [`Winograd::new`], where this is faster than a direct convolution: with AVX-512, that one computes
    /// twice as many products at a time.
    pub(super) fn where_faster(affine: &Affine, window: Window) -> Option<Self> {
        // Without optimisation, each instruction becomes a call.
        let faster = !cfg!(debug_assertions) && !cpu_has_avx512();
        faster.then(|| Self::new(affine, window)).flatten()
    }

    /// The same convolution again; its kernel is shared.
    pub(super) fn share(&self) -> Self {
        let Affine { weight, bias } = &self.affine;
        let affine = Affine { weight: weight.shallow_clone(), bias: bias.shallow_clone() };
        Self { affine, padding: self.padding, kernel: Arc::clone(&self.kernel) }
    }

    /// The rectified maps of `x`, `[n, channels, height, width]`, after 2×2 max pooling if `pooled`, laid out
    /// channels last and outside the autograd graph: the same on any number of threads. `None` if `x` is no such
    /// input, or has so few pixels that a direct convolution is faster.
    pub(super) fn forward(&self, x: &Tensor, pooled: bool) -> Option<Tensor> {
        let sizes: Vec<usize> = x.size().into_iter().map(|it| it as usize).collect();
        let [images, inputs, height, width] = sizes[..] else { return None };
        let weights = self.affine.weight.size();
        let fits = images > 0
            && x.kind() == Kind::Float
            && x.device() == Device::Cpu
            && !x.requires_grad()
            && inputs == weights[1] as usize
            && height.min(width) + 2 * self.padding >= 3;
        if !fits {
            return None;
        }
        let shape = Shape { height, width, padding: self.padding, pooled };
        let (tile_rows, tile_columns) = shape.tiles();
        if tile_rows * tile_columns < MIN_TILES {
            return None;
        }
        let kernel = self.kernel.get_or_init(|| Kernel::of(&self.affine));
        let x = x.permute([0, 2, 3, 1]).contiguous();
        let (rows, columns) = shape.outputs();
        let maps = Tensor::zeros(
            [images, rows, columns, kernel.outputs].map(|size| size as i64),
            (Kind::Float, Device::Cpu),
        );
        // SAFETY: both are contiguous, in fp32 and in the CPU's memory; nobody else has `maps`.
        let (from, to) = unsafe {
            (
                slice::from_raw_parts(x.data_ptr().cast::<f32>(), x.numel()),
                slice::from_raw_parts_mut(maps.data_ptr().cast::<f32>(), maps.numel()),
            )
        };
        let sizes = (height * width * inputs, rows * columns * kernel.outputs);
        let strip_rows = shape.strip_rows(images, tch::get_num_threads().max(1) as usize);
        let strip = strip_rows * shape.tile_outputs() * columns * kernel.outputs;
        let images = from.chunks_exact(sizes.0).zip(to.chunks_exact_mut(sizes.1));
        let strips: Vec<Strip<'_>> = images
            .flat_map(|(from, to)| {
                let strips = to.chunks_mut(strip).enumerate();
                strips.map(move |(number, to)| (from, number * strip_rows, to))
            })
            .collect();
        parallel::for_each(strips, |(from, first, to)| {
            SCRATCH.with_borrow_mut(|scratch| kernel.forward(from, shape, first, to, scratch));
        });
        Some(maps.permute([0, 3, 1, 2]))
    }
}

impl Kernel {
    fn of(affine: &Affine) -> Self {
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
        let (outputs, inputs) = (size[0], size[1]);
        let rows = Tensor::from_slice(ROWS.as_flattened()).view([6, 3]);
        let weights = affine.weight.detach().to_kind(Kind::Double);
        // [outputs, inputs, 6, 6]
        let points = rows.matmul(&weights).matmul(&rows.transpose(0, 1));
        let panels = points
            .view([outputs / PANEL as i64, PANEL as i64, inputs, POINTS as i64])
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
    fn forward(
        &self,
        from: &[f32],
        shape: Shape,
        first: usize,
        to: &mut [f32],
        (transformed, products): &mut (Vec<f32>, Vec<f32>),
    ) {
        for (values, channels) in [(&mut *transformed, self.inputs), (&mut *products, self.outputs)]
        {
            let needed = POINTS * BLOCK * channels;
            if values.len() < needed {
                values.resize(needed, 0.0);
            }
        }
        let rows = to.len() / (shape.outputs().1 * self.outputs);
        let tile_rows = rows.div_ceil(shape.tile_outputs());
        let tiles: Vec<_> = (0..tile_rows)
            .flat_map(|row| (0..shape.tiles().1).map(move |column| Tile { row, column }))
            .collect();
        for tiles in tiles.chunks(BLOCK) {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a kernel is only made where there are AVX2 and FMA.
            unsafe {
                avx2::transform_inputs(self, from, shape, first, tiles, transformed);
                avx2::multiply(self, tiles.len(), transformed, products);
                avx2::transform_products(self, products, shape, tiles, to);
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = (
                from,
                first,
                &to,
                tiles.first().map(|it| (it.row, it.column)),
                &self.weights,
                &self.bias,
            );
        }
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.contiguous();
    let mut values = vec![0.0; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    values
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_avx2() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
const fn cpu_has_avx2() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_avx512() -> bool {
    std::is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
const fn cpu_has_avx512() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::{
        super::{channels_last, layers::WeightSource},
        *,
    };

    fn affine(inputs: i64, outputs: i64) -> Affine {
        let source = &mut WeightSource::random(0, Device::Cpu);
        let affine = source.affine("x", &[outputs, inputs, 3, 3]).unwrap();
        Affine { bias: Tensor::rand([outputs], (Kind::Float, Device::Cpu)) - 0.5, ..affine }
    }

    #[test]
    fn it_gives_the_maps_of_a_direct_convolution() {
        for (inputs, outputs, height, width, padding) in [
            (8, 16, 18, 18, 0),
            (16, 48, 16, 19, 1),
            (32, 64, 33, 14, 0),
            (64, 32, 21, 57, 1),
            (8, 16, 17, 16, 2),
        ] {
            let affine = affine(inputs, outputs);
            let window = Window::dense(padding);
            let Some(winograd) = Winograd::new(&affine, window) else {
                assert!(!cpu_has_avx2());
                return;
            };
            for images in [1, 3] {
                let images = [images, inputs, height, width];
                let images = Tensor::rand(images, (Kind::Float, Device::Cpu)) * 4 - 2;
                for x in [&channels_last(&images), &images] {
                    let expected = affine.convolve(x, window).relu();
                    for (pooled, expected) in [
                        (false, expected.shallow_clone()),
                        (true, expected.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)),
                    ] {
                        tch::set_num_threads(1);
                        let maps = winograd.share().forward(x, pooled).unwrap();
                        for threads in [2, 5] {
                            tch::set_num_threads(threads);
                            assert_eq!(winograd.forward(x, pooled), Some(maps.shallow_clone()));
                        }
                        assert_eq!(maps.size(), expected.size());
                        assert_eq!(maps.stride(), channels_last(&maps).stride());
                        let difference = (&maps - &expected).abs().max().double_value(&[]);
                        let most = expected.abs().max().double_value(&[]);
                        assert!(difference < 1e-5 * most, "{difference} of {most}: {images:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_it_is_not_made_for_is_left_to_a_direct_convolution() {
        let window = Window::dense(0);
        for (affine, window) in [
            (affine(3, 16), window),
            (affine(8, 24), window),
            (affine(8, 16), Window { stride: 2, ..window }),
            (affine(8, 16), Window { groups: 2, ..window }),
            (affine(8, 16).frozen(Kind::BFloat16), window),
        ] {
            assert!(Winograd::new(&affine, window).is_none());
        }
        let Some(winograd) = Winograd::new(&affine(8, 16), window) else { return };
        let images = |size: [i64; 4]| Tensor::rand(size, (Kind::Float, Device::Cpu));
        assert!(winograd.forward(&images([1, 8, 18, 18]), false).is_some());
        // Nine tiles, another number of channels, no result, none after pooling, no image, to be differentiated.
        assert!(winograd.forward(&images([1, 8, 14, 14]), false).is_none());
        assert!(winograd.forward(&images([1, 16, 18, 18]), false).is_none());
        assert!(winograd.forward(&images([1, 8, 2, 90]), false).is_none());
        assert!(winograd.forward(&images([1, 8, 3, 90]), true).is_none());
        assert!(winograd.forward(&images([0, 8, 18, 18]), false).is_none());
        let differentiated = images([1, 8, 18, 18]).set_requires_grad(true);
        assert!(winograd.forward(&differentiated, false).is_none());
    }
}
