//! The nearest images of each image, by the cosine of their features.

use tch::{Kind, Tensor};

use super::features::unit;
use crate::training::failure::StopReason;

/// Neighbours of each image that are kept.
pub const NEIGHBOURS: usize = 30;
/// Images that are compared with all others at a time.
const BLOCK: i64 = 512;

/// The nearest images of each image, nearest first, without itself.
#[derive(Debug)]
pub struct Nearest {
    /// Neighbours of each image.
    pub each: usize,
    indices: Vec<i32>,
    similarities: Vec<f32>,
}

impl Nearest {
    /// Of these features, `[images, width]`. `progress` is called with the number of images done.
    ///
    /// # Errors
    /// That of `progress`.
    pub fn of(
        features: &Tensor,
        mut progress: impl FnMut(usize) -> Result<(), StopReason>,
    ) -> Result<Self, StopReason> {
        let units = unit(features);
        let count = units.size()[0];
        let each = (NEIGHBOURS as i64).min(count - 1).max(0);
        let (mut indices, mut similarities) = (Vec::new(), Vec::new());
        let mut start = 0;
        while start < count && each > 0 {
            progress(start as usize)?;
            let rows = BLOCK.min(count - start);
            let all = units.narrow(0, start, rows).matmul(&units.tr());
            // No image is its own neighbour.
            let _ = all.narrow(1, start, rows).fill_diagonal_(-2.0, false);
            let (values, places) = all.topk(each, 1, true, true);
            indices.extend(to_vec::<i32>(&places.to_kind(Kind::Int)));
            similarities.extend(to_vec::<f32>(&values));
            start += rows;
        }
        Ok(Self { each: each as usize, indices, similarities })
    }

    /// The neighbours of an image: their indices and cosines.
    pub fn of_image(&self, image: usize) -> impl Iterator<Item = (usize, f32)> {
        let range = image * self.each..(image + 1) * self.each;
        let places = self.indices[range.clone()].iter().map(|index| *index as usize);
        places.zip(self.similarities[range].iter().copied())
    }

    /// The number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.indices.len().checked_div(self.each).unwrap_or(0)
    }

    /// The cosine distance of each image to its neighbour of that rank, counted from 1.
    #[must_use]
    pub fn distances(&self, rank: usize) -> Vec<f64> {
        let rank = rank.clamp(1, self.each.max(1));
        self.similarities
            .chunks_exact(self.each.max(1))
            .map(|of_image| 1.0 - f64::from(of_image[rank - 1]))
            .collect()
    }
}

pub(super) fn to_vec<T: tch::kind::Element + Copy + Default>(tensor: &Tensor) -> Vec<T> {
    let mut values = vec![T::default(); tensor.numel()];
    tensor.contiguous().copy_data(&mut values, tensor.numel());
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_of_a_comparison_of_all_with_all() {
        tch::manual_seed(1);
        let rows = Tensor::randn([700, 8], (Kind::Float, tch::Device::Cpu));
        let nearest = Nearest::of(&rows, |_| Ok(())).unwrap();
        assert_eq!((nearest.images(), nearest.each), (700, NEIGHBOURS));
        let units = unit(&rows);
        for image in [0, 511, 512, 699] {
            let cosines: Vec<f32> = to_vec(&units.matmul(&units.get(image as i64)));
            let mut others: Vec<usize> = (0..700).filter(|other| *other != image).collect();
            others.sort_by(|a, b| cosines[*b].total_cmp(&cosines[*a]));
            let found: Vec<usize> = nearest.of_image(image).map(|(other, _)| other).collect();
            assert_eq!(found, others[..NEIGHBOURS]);
        }
    }

    #[test]
    fn few_images_have_few_neighbours_and_one_has_none() {
        let rows = Tensor::from_slice2(&[[1.0_f32, 0.0], [0.0, 1.0]]);
        let nearest = Nearest::of(&rows, |_| Ok(())).unwrap();
        assert_eq!(nearest.distances(3), [1.0, 1.0]);
        let one = Nearest::of(&rows.narrow(0, 0, 1), |_| Ok(())).unwrap();
        assert_eq!(one.of_image(0).count(), 0);
        assert!(one.distances(1).is_empty());
    }
}
