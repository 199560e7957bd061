//! Grad-CAM heat maps (Selvaraju et al., 2017, equations 1 and 2).

use image::{ImageBuffer, Luma, Rgb, RgbImage, imageops};
use plotters::style::colors::colormaps::{ColorMap as _, ViridisRGB};
use serde::Serialize;
use tch::{Kind, Tensor};
use utoipa::ToSchema;

use crate::{
    architectures::{Network, logit_rows},
    domain::objective::{Logits, Objective},
};

/// Opacity of the heat map over an image.
const OPACITY: f32 = 0.5;

/// Grad-CAM heat map, scaled to a maximum of 1; all zeros if nothing supports the class.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Heatmap {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// `height` rows of `width` values, top to bottom.
    pub values: Vec<f32>,
}

impl Heatmap {
    /// `picture` with the map stretched over it: dark violet where nothing supports the class,
    /// yellow at the maximum.
    #[must_use]
    pub fn overlay_on(&self, picture: &RgbImage) -> RgbImage {
        let (width, height) = (self.width as u32, self.height as u32);
        let values = ImageBuffer::<Luma<f32>, _>::from_raw(width, height, self.values.clone());
        let Some(values) = values else { return picture.clone() };
        let (width, height) = picture.dimensions();
        let heat = imageops::resize(&values, width, height, imageops::FilterType::Triangle);
        let mut painted = picture.clone();
        for (pixel, heat) in painted.pixels_mut().zip(heat.pixels()) {
            let colour = ViridisRGB.get_color(heat.0[0].clamp(0.0, 1.0));
            let mix = |below: u8, above: u8| {
                (f32::from(below) * (1.0 - OPACITY) + f32::from(above) * OPACITY).round() as u8
            };
            let Rgb([red, green, blue]) = *pixel;
            *pixel = Rgb([mix(red, colour.0), mix(green, colour.1), mix(blue, colour.2)]);
        }
        painted
    }
}

/// The logits of an image whose maps are the [`Network::feature_maps`], `[1, channels, height,
/// width]`, and the heat map of the class of index `class`, or of the predicted one. The score of the first of two classes is the negated logit.
///
/// The weighted feature maps are those of the last convolution, rectified.
///
/// # Errors
/// Those of libtorch, such as out of memory.
pub fn explain(
    network: &Network,
    maps: &Tensor,
    class: Option<usize>,
) -> Result<(Logits, Heatmap), tch::TchError> {
    let maps = maps.detach().to_kind(Kind::Float).set_requires_grad(true);
    let outputs = tch::with_grad(|| network.classify(&maps));
    let logits = logit_rows(&outputs)?.pop();
    let logits = logits.ok_or_else(|| tch::TchError::Torch("no output".to_owned()))?;
    let class = class.unwrap_or_else(|| logits.predicted());
    let (output, score) = match logits.objective() {
        Objective::Sigmoid => (0, if class == 1 { 1.0 } else { -1.0 }),
        Objective::Softmax(_) => (class as i64, 1.0),
    };
    let of_class = tch::with_grad(|| outputs.f_select(1, output))?;
    let gradient = Tensor::f_run_backward(&[&of_class], &[&maps], false, false)?;
    let [gradient] = gradient.as_slice() else {
        return Err(tch::TchError::Torch("no gradient of the feature maps".to_owned()));
    };
    let weights = gradient.mean_dim([2, 3].as_slice(), true, Kind::Float) * score;
    let map = (weights * maps.detach()).sum_dim_intlist([1].as_slice(), false, Kind::Float).relu();
    let map = map.squeeze_dim(0);
    let strongest = map.max().f_double_value(&[])?;
    let map = if strongest > 0.0 { map / strongest } else { map };
    let (height, width) = map.size2()?;
    let values = Vec::<f32>::try_from(map.contiguous().flatten(0, -1))?;
    Ok((logits, Heatmap { height: height as usize, width: width as usize, values }))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::{
        architectures::{Classifier, Cnn, Head},
        domain::base::VGG16,
    };

    fn image() -> Tensor {
        // Always the same: other tests draw from libtorch's generator at the same time.
        let numbers = Tensor::arange(3 * 180 * 180, (Kind::Float, Device::Cpu));
        (numbers * 0.37).sin().reshape([1, 3, 180, 180]) * 0.5 + 0.5
    }

    fn maps(network: &Network) -> Tensor {
        tch::no_grad(|| network.feature_maps(&image()))
    }

    fn assert_close(map: &Heatmap, expected: &Tensor) {
        let expected = expected / expected.max();
        let expected = Vec::<f32>::try_from(expected.flatten(0, -1)).unwrap();
        assert_eq!((map.height * map.width, map.values.len()), (expected.len(), expected.len()));
        for (value, expected) in map.values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-3, "{value} {expected}");
        }
    }

    /// One dense layer follows the small network's maps: its weights are the gradient.
    #[test]
    fn the_small_network_is_explained_by_its_dense_weights() {
        for seed in 0..4 {
            let network = Cnn::random(1, seed, Device::Cpu);
            let weights = network.tensors()["dense.weight"].detach().reshape([7, 7, 256]);
            let network = Network::Cnn(network);
            let (logits, map) = explain(&network, &maps(&network), None).unwrap();
            let logit = logits.0[0];
            let maps = tch::no_grad(|| network.feature_maps(&image())).squeeze_dim(0);
            let weights = weights.mean_dim([0, 1].as_slice(), false, Kind::Float) * logit.signum();
            let expected = Tensor::einsum("k,khw->hw", &[weights, maps], None::<&[i64]>).relu();
            assert_eq!((map.height, map.width), (7, 7));
            assert_close(&map, &expected);
        }
    }

    /// The gradient of VGG16's logit, by differences.
    #[test]
    fn vgg16_is_explained_by_what_a_change_of_its_maps_does() {
        let mut tensors = Head::new(&VGG16, 1, 1, Device::Cpu).tensors();
        let mut channels = 3;
        for (block, (count, filters)) in
            (1..).zip([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512_i64)])
        {
            for convolution in 1..=count {
                let layer = format!("block{block}_conv{convolution}");
                let scale = (2.0 / (9 * channels) as f64).sqrt();
                let shape = [filters, channels, 3, 3];
                let kernel = Tensor::randn(shape, (Kind::Float, Device::Cpu)) * scale;
                tensors.insert(format!("{layer}.weight"), kernel);
                let bias = Tensor::zeros([filters], (Kind::Float, Device::Cpu));
                tensors.insert(format!("{layer}.bias"), bias);
                channels = filters;
            }
        }
        let network =
            Network::Classifier(Classifier::from_tensors(tensors, &VGG16, 1, Device::Cpu).unwrap());
        let (logits, map) = explain(&network, &maps(&network), None).unwrap();
        let logit = logits.0[0];
        let _no_grad = tch::no_grad_guard();
        let maps = network.feature_maps(&image());
        let base = network.classify(&maps).double_value(&[0, 0]);
        assert!((base - logit).abs() < 1e-3);
        // Large: behind the maps all is linear, as the same is added everywhere.
        let step = 10.0;
        let slopes: Vec<f32> = (0..512)
            .map(|channel| {
                let changed = maps.copy();
                let _ = changed.select(1, channel).g_add_scalar_(step);
                let places = (map.height * map.width) as f64;
                let slope =
                    (network.classify(&changed).double_value(&[0, 0]) - base) / step / places;
                slope as f32 * logit.signum() as f32
            })
            .collect();
        let weights = Tensor::from_slice(&slopes);
        let maps = maps.squeeze_dim(0);
        let expected = Tensor::einsum("k,khw->hw", &[weights, maps], None::<&[i64]>).relu();
        assert_close(&map, &expected);
    }

    #[test]
    fn a_map_is_stretched_over_a_picture_of_any_size() {
        let map = Heatmap { height: 1, width: 2, values: vec![0.0, 1.0] };
        let black = RgbImage::new(40, 30);
        let painted = map.overlay_on(&black);
        assert_eq!(painted.dimensions(), (40, 30));
        let (left, right) = (painted.get_pixel(0, 15), painted.get_pixel(39, 15));
        assert!(right.0[0] > left.0[0] && right.0[1] > left.0[1], "{left:?} {right:?}");
    }
}
