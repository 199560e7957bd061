//! 3×3 convolutions with a ReLU for predictions, in fp32, on CPUs with AVX2 or AVX-512: [`winograd`] for many input
//! channels, [`rgb`] for an image's three. Pooling is part of both.
//!
//! In bf16, for which a processor has instructions of its own, libtorch is as fast or faster.

use std::arch::x86_64::{__m256, __m512};
use std::{
    slice,
    sync::{Arc, OnceLock},
};

use tch::{Device, Kind, Tensor};

use self::instructions::Instructions;
use super::layers::{Affine, Window};

mod instructions;
mod parallel;
mod register;
mod rgb;
mod winograd;

/// Fewer tiles are left to libtorch: a transformed kernel, four times as large, would be read for few products. In the last
/// convolution of the small network, of four tiles, little would be gained for 9 MB.
const MIN_TILES: usize = 16;

/// An image, the first of the rows of tiles that a thread computes at a time, and the results of these rows.
type Strip<'a> = (&'a [f32], usize, &'a mut [f32]);

/// A 3×3 convolution with a stride of 1, in fp32, followed by a ReLU.
#[derive(Debug)]
pub(super) struct Convolution {
    affine: Affine,
    /// Zeros on each side of the input.
    padding: usize,
    instructions: Instructions,
    /// Made when it is first used.
    kernel: Arc<OnceLock<Kernel>>,
}

/// A kernel and its bias, laid out for one of the ways to compute it.
#[derive(Debug)]
enum Kernel {
    Winograd(winograd::Kernel),
    Rgb(rgb::Kernel),
}

/// The maps that a kernel is applied to, and what becomes of the results.
#[derive(Debug, Clone, Copy)]
struct Shape {
    height: usize,
    width: usize,
    padding: usize,
    /// Followed by 2×2 max pooling.
    pooled: bool,
    /// Rows of results that are computed together, and columns of them that count as a tile: an even number.
    tile: usize,
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
        if self.pooled { self.tile / 2 } else { self.tile }
    }

    /// Rows of tiles that a thread computes at a time: few enough for all to have something to do until the end,
    /// and else as many as there may be, up to `block` tiles, because the kernel is read for each strip.
    fn strip_rows(self, images: usize, threads: usize, block: usize) -> usize {
        let (rows, columns) = self.tiles();
        let share = if threads == 1 { rows } else { (images * rows).div_ceil(2 * threads) };
        share.min(block / columns).max(1)
    }
}

impl Convolution {
    /// The convolution of `affine` and a ReLU. `None` if it can't be computed so, or not on this CPU.
    pub(super) fn new(affine: &Affine, window: Window) -> Option<Self> {
        Instructions::available().find_map(|it| Self::with(affine, window, it))
    }

    fn with(affine: &Affine, window: Window, instructions: Instructions) -> Option<Self> {
        let Affine { weight, bias } = affine;
        let [outputs, inputs, 3, 3] = weight.size()[..] else { return None };
        let fits = instructions.fit(inputs as usize, outputs as usize)
            && window.stride == 1
            && window.groups == 1
            && weight.kind() == Kind::Float
            && weight.device() == Device::Cpu;
        let affine = Affine { weight: weight.shallow_clone(), bias: bias.shallow_clone() };
        let padding = usize::try_from(window.padding).ok()?;
        fits.then(|| Self { affine, padding, instructions, kernel: Arc::default() })
    }

    /// As [`Convolution::new`], where this is faster than libtorch.
    pub(super) fn where_faster(affine: &Affine, window: Window) -> Option<Self> {
        // Without optimisation, each instruction becomes a call.
        (!cfg!(debug_assertions)).then(|| Self::new(affine, window)).flatten()
    }

    /// The same convolution again; its kernel is shared.
    pub(super) fn share(&self) -> Self {
        let Affine { weight, bias } = &self.affine;
        let affine = Affine { weight: weight.shallow_clone(), bias: bias.shallow_clone() };
        let kernel = Arc::clone(&self.kernel);
        Self { affine, padding: self.padding, instructions: self.instructions, kernel }
    }

    /// The rectified maps of `x`, `[n, channels, height, width]`, after 2×2 max pooling if `pooled`, laid out
    /// channels last and outside the autograd graph: the same on any number of threads. `None` if `x` is no such
    /// input, or has so few pixels that libtorch is faster.
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
        let mut x = x.permute([0, 2, 3, 1]).contiguous();
        let mut shape =
            Shape { height, width, padding: self.padding, pooled, tile: winograd::TILE };
        let (mut least, mut block) = ((1, 1), winograd::BLOCK);
        if inputs == rgb::INPUTS {
            if self.padding > 0 {
                let padding = self.padding as i64;
                x = x.constant_pad_nd([0, 0, padding, padding, padding, padding]).contiguous();
            }
            let (height, width) = (height + 2 * self.padding, width + 2 * self.padding);
            shape = Shape { height, width, padding: 0, pooled, tile: rgb::TILE };
            (least, block) = ((rgb::TILE, rgb::COLUMNS), usize::MAX);
        }
        let (tile_rows, tile_columns) = shape.tiles();
        let results = shape.results();
        if tile_rows * tile_columns < MIN_TILES || results.0 < least.0 || results.1 < least.1 {
            return None;
        }
        let instructions = self.instructions;
        let kernel = self.kernel.get_or_init(|| Kernel::of(&self.affine, instructions.lanes()));
        let ((rows, columns), outputs) = (shape.outputs(), weights[0] as usize);
        // All of it is written below.
        let maps = Tensor::empty(
            [images, rows, columns, outputs].map(|size| size as i64),
            (Kind::Float, Device::Cpu),
        );
        // SAFETY: both are contiguous, in fp32 and in the CPU's memory; nobody else has `maps`.
        let (from, to) = unsafe {
            (
                slice::from_raw_parts(x.data_ptr().cast::<f32>(), x.numel()),
                slice::from_raw_parts_mut(maps.data_ptr().cast::<f32>(), maps.numel()),
            )
        };
        let sizes = (shape.height * shape.width * inputs, rows * columns * outputs);
        let strip_rows = shape.strip_rows(images, tch::get_num_threads().max(1) as usize, block);
        let strip = strip_rows * shape.tile_outputs() * columns * outputs;
        let images = from.chunks_exact(sizes.0).zip(to.chunks_exact_mut(sizes.1));
        let strips: Vec<Strip<'_>> = images
            .flat_map(|(from, to)| {
                let strips = to.chunks_mut(strip).enumerate();
                strips.map(move |(number, to)| (from, number * strip_rows, to))
            })
            .collect();
        parallel::for_each(strips, |(from, first, to)| {
            kernel.forward(instructions, from, shape, first, to);
        });
        Some(maps.permute([0, 3, 1, 2]))
    }
}

impl Kernel {
    /// For registers of so many lanes.
    fn of(affine: &Affine, lanes: usize) -> Self {
        if affine.weight.size()[1] as usize == rgb::INPUTS {
            Self::Rgb(rgb::Kernel::of(affine, lanes))
        } else {
            Self::Winograd(winograd::Kernel::of(affine, lanes))
        }
    }

    /// Applies it to `from`, `[height, width, inputs]`, for rows of tiles from `first` on: as many as `to` has room for,
    /// `[rows, columns, outputs]`.
    fn forward(
        &self,
        instructions: Instructions,
        from: &[f32],
        shape: Shape,
        first: usize,
        to: &mut [f32],
    ) {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(kernel: &Kernel, from: &[f32], shape: Shape, first: usize, to: &mut [f32]) {
            const REGISTERS: usize = rgb::registers(Instructions::Avx2.lanes());
            // SAFETY: this function enables the instructions.
            unsafe {
                match kernel {
                    Kernel::Winograd(kernel) => kernel.forward::<__m256>(from, shape, first, to),
                    Kernel::Rgb(kernel) => {
                        kernel.forward::<__m256, REGISTERS>(from, shape, first, to);
                    }
                }
            }
        }
        #[target_feature(enable = "avx512f")]
        fn avx512(kernel: &Kernel, from: &[f32], shape: Shape, first: usize, to: &mut [f32]) {
            const REGISTERS: usize = rgb::registers(Instructions::Avx512.lanes());
            // SAFETY: this function enables the instructions.
            unsafe {
                match kernel {
                    Kernel::Winograd(kernel) => kernel.forward::<__m512>(from, shape, first, to),
                    Kernel::Rgb(kernel) => {
                        kernel.forward::<__m512, REGISTERS>(from, shape, first, to);
                    }
                }
            }
        }
        // SAFETY: a convolution is only made with instructions that the CPU has.
        unsafe {
            match instructions {
                Instructions::Avx2 => avx2(self, from, shape, first, to),
                Instructions::Avx512 => avx512(self, from, shape, first, to),
            }
        }
    }
}

/// The values of a tensor in fp32.
fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.contiguous();
    let mut values = vec![0.0; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    values
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
            (16, 32, 6, 190, 0),
            (3, 32, 21, 18, 0),
            (3, 8, 14, 17, 1),
            (3, 64, 13, 12, 2),
            (3, 32, 11, 10, 0),
        ] {
            let affine = affine(inputs, outputs);
            let window = Window::dense(padding);
            for instructions in Instructions::available() {
                let Some(convolution) = Convolution::with(&affine, window, instructions) else {
                    assert_eq!(instructions, Instructions::Avx512);
                    continue;
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
                            let maps = convolution.share().forward(x, pooled).unwrap();
                            for threads in [2, 5] {
                                tch::set_num_threads(threads);
                                assert_eq!(
                                    convolution.forward(x, pooled),
                                    Some(maps.shallow_clone())
                                );
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
    }

    #[test]
    fn what_it_is_not_made_for_is_left_to_a_direct_convolution() {
        let window = Window::dense(0);
        for (affine, window) in [
            (affine(5, 16), window),
            (affine(8, 24), window),
            (affine(8, 16), Window { stride: 2, ..window }),
            (affine(8, 16), Window { groups: 2, ..window }),
            (affine(8, 16).frozen(Kind::BFloat16), window),
        ] {
            assert!(Convolution::new(&affine, window).is_none());
        }
        let Some(convolution) = Convolution::new(&affine(8, 16), window) else { return };
        let images = |size: [i64; 4]| Tensor::rand(size, (Kind::Float, Device::Cpu));
        assert!(convolution.forward(&images([1, 8, 18, 18]), false).is_some());
        // Nine tiles, another number of channels, no result, none after pooling, no image, to be differentiated.
        assert!(convolution.forward(&images([1, 8, 14, 14]), false).is_none());
        assert!(convolution.forward(&images([1, 16, 18, 18]), false).is_none());
        assert!(convolution.forward(&images([1, 8, 2, 90]), false).is_none());
        assert!(convolution.forward(&images([1, 8, 3, 90]), true).is_none());
        assert!(convolution.forward(&images([0, 8, 18, 18]), false).is_none());
        let differentiated = images([1, 8, 18, 18]).set_requires_grad(true);
        assert!(convolution.forward(&differentiated, false).is_none());
        // One row of results, and too few columns.
        let convolution = Convolution::new(&affine(3, 32), window).unwrap();
        assert!(convolution.forward(&images([1, 3, 18, 18]), false).is_some());
        assert!(convolution.forward(&images([1, 3, 3, 90]), false).is_none());
        assert!(convolution.forward(&images([1, 3, 90, 7]), false).is_none());
    }
}
