//! The augmentation of the recipes: each image randomly flipped, rotated and zoomed, in one
//! resampling. Used by the trainer, and by the server for previews.

use std::f64::consts::TAU;

use image::{ImageError, ImageFormat, Rgb, RgbImage};
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// Maximum rotation as a fraction of a full turn, in either direction (Keras'
/// `RandomRotation(0.1)`).
const ROTATION: f64 = 0.1;
/// Maximum zoom as a fraction, in or out (Keras' `RandomZoom(0.2)`).
const ZOOM: f64 = 0.2;
/// Pixels between the images of a contact sheet.
const GAP: u32 = 4;

/// The transform of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    /// Whether it is flipped horizontally.
    pub flip: bool,
    /// Rotation about the centre, in radians.
    pub angle: f64,
    /// Side of the visible window, relative to the image's: above 1 the image shrinks.
    pub zoom: f64,
}

impl Transform {
    /// The identity.
    pub const IDENTITY: Self = Self { flip: false, angle: 0.0, zoom: 1.0 };

    /// Draws a transform, each of its parts uniformly.
    pub fn random(generator: &mut impl Rng) -> Self {
        Self {
            flip: generator.random_bool(0.5),
            angle: generator.random_range(-ROTATION..=ROTATION) * TAU,
            zoom: 1.0 + generator.random_range(-ZOOM..=ZOOM),
        }
    }

    /// The matrix `[a, b, c, d]` that maps a position in the result to the position where it is
    /// sampled, `(a·x + b·y, c·x + d·y)`, both relative to the centre and in halves of the image's
    /// sides; `aspect` is its height divided by its width.
    #[must_use]
    pub fn matrix(&self, aspect: f64) -> [f32; 4] {
        let (sin, cos) = self.angle.sin_cos();
        let mirror = if self.flip { -1.0 } else { 1.0 };
        [
            mirror * self.zoom * cos,
            -mirror * self.zoom * sin * aspect,
            self.zoom * sin / aspect,
            self.zoom * cos,
        ]
        .map(|number| number as f32)
    }
}

/// Transforms images `[n, height, width, 3]`, bytes or floats, one by each of `transforms`:
/// bilinear, with the image reflected about its edges. Returns fp32 in the range of the input, `[n,
/// height, width, 3]` in shape and channels first in memory.
pub fn augment(photos: &Tensor, transforms: &[Transform]) -> Tensor {
    let (_, height, width, _) = match photos.size()[..] {
        [n, height, width, channels] => (n, height, width, channels),
        ref other => unreachable!("photos have four dimensions, not {other:?}"),
    };
    let grid = grid(transforms, height, width, photos.device());
    let planes = photos.permute([0, 3, 1, 2]).contiguous().to_kind(Kind::Float);
    // Bilinear (0), reflected (2) about the outer edge of the outermost pixels.
    planes.grid_sampler(&grid, 0, 2, false).permute([0, 2, 3, 1])
}

/// Where each pixel of the result is sampled: `[n, height, width, 2]`, x and y in -1 to 1.
fn grid(transforms: &[Transform], height: i64, width: i64, device: Device) -> Tensor {
    let aspect = height as f64 / width as f64;
    let matrices: Vec<f32> =
        transforms.iter().flat_map(|transform| transform.matrix(aspect)).collect();
    // A few hundred bytes, not waited for.
    let matrices = Tensor::from_slice(&matrices)
        .to_device_(device, Kind::Float, true, false)
        .reshape([-1, 4, 1, 1]);
    let centres = |pixels: i64| {
        let pixel = Tensor::arange(pixels, (Kind::Float, device));
        (pixel * 2.0 + 1.0) / pixels as f64 - 1.0
    };
    let (x, y) = (centres(width).reshape([1, 1, width]), centres(height).reshape([1, height, 1]));
    let row = |first: i64| matrices.select(1, first) * &x + matrices.select(1, first + 1) * &y;
    Tensor::stack(&[row(0), row(2)], -1)
}

/// A PNG of `count` versions of one image, RGB bytes of `(height, width)`, in rows and columns as
/// close to a square as possible. Panics if libtorch fails.
///
/// # Errors
/// The PNG can't be encoded.
pub fn contact_sheet(
    photo: &[u8],
    (height, width): (u32, u32),
    count: usize,
    seed: u64,
) -> Result<Vec<u8>, ImageError> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let transforms: Vec<Transform> =
        (0..count).map(|_| Transform::random(&mut generator)).collect();
    let copies = Tensor::from_slice(photo).reshape([1, height.into(), width.into(), 3]).repeat([
        count as i64,
        1,
        1,
        1,
    ]);
    let versions = augment(&copies, &transforms).round().to_kind(Kind::Uint8).contiguous();
    let mut bytes = vec![0; versions.numel()];
    versions.copy_data_u8(&mut bytes, versions.numel());
    let columns = (1..=count).find(|columns| columns * columns >= count).unwrap_or(1) as u32;
    let rows = (count as u32).div_ceil(columns);
    let mut sheet = RgbImage::from_pixel(
        columns * (width + GAP) - GAP,
        rows * (height + GAP) - GAP,
        Rgb([255; 3]),
    );
    let photos = bytes.chunks_exact((width * height * 3) as usize);
    for (number, version) in (0..).zip(photos) {
        if let Some(version) = RgbImage::from_raw(width, height, version.to_vec()) {
            let (column, row) = (number % columns, number / columns);
            let (x, y) = (column * (width + GAP), row * (height + GAP));
            image::imageops::replace(&mut sheet, &version, x.into(), y.into());
        }
    }
    let mut png = Vec::new();
    sheet.write_to(&mut std::io::Cursor::new(&mut png), ImageFormat::Png)?;
    Ok(png)
}
