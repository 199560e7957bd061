//! The nearest images of each image, by the cosine of their features.

use tch::{Kind, Tensor};

use super::{
    cells::{self, Cells},
    features::{to_vec, unit},
};
use crate::training::failure::StopReason;

/// Neighbours of each image that are kept.
pub const NEIGHBOURS: usize = 30;
/// Cells that the neighbours of the images of a cell are sought in, itself among them.
const PROBED: usize = 16;
/// Images up to which all are compared with all: about as many as are in the cells that an image is
/// compared with otherwise.
const MAX_EXACT: usize = PROBED * cells::IMAGES;
/// Images that are compared with others at a time.
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
    /// Of these features, `[images, width]`: exactly for up to 8,192 images, approximately for more, in
    /// time that is proportional to their number. `progress` is called with the number of images done.
    ///
    /// # Errors
    /// That of `progress`.
    pub fn of(
        features: &Tensor,
        progress: impl FnMut(usize) -> Result<(), StopReason>,
    ) -> Result<Self, StopReason> {
        if features.size()[0] as usize <= MAX_EXACT {
            Self::among_all(&unit(features), progress)
        } else {
            Self::among_cells(features, progress)
        }
    }

    /// Compares all rows, of length 1, with all.
    ///
    /// # Errors
    /// That of `progress`.
    pub fn among_all(
        units: &Tensor,
        mut progress: impl FnMut(usize) -> Result<(), StopReason>,
    ) -> Result<Self, StopReason> {
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

    /// Compares the rows of each cell with those of the cells that are nearest to it.
    fn among_cells(
        features: &Tensor,
        mut progress: impl FnMut(usize) -> Result<(), StopReason>,
    ) -> Result<Self, StopReason> {
        let (count, each) = (features.size()[0], NEIGHBOURS as i64);
        let cells = Cells::of(features);
        let mut found = Tensor::zeros([count, each], (Kind::Int, features.device()));
        let mut similarities = Tensor::zeros([count, each], (Kind::Float, features.device()));
        let mut done = 0;
        for (members, near) in cells.members.iter().zip(cells.nearest(PROBED)) {
            // Its own images come first.
            let others: Vec<&[i64]> = near.iter().map(|cell| &*cells.members[*cell]).collect();
            let others = Tensor::from_slice(&others.concat());
            let of_others = unit(&features.index_select(0, &others)).tr();
            for (start, images) in (0..).step_by(BLOCK as usize).zip(members.chunks(BLOCK as usize))
            {
                progress(done)?;
                done += images.len();
                let images = Tensor::from_slice(images);
                let cosines = of_others.narrow(1, start, images.size()[0]).tr().matmul(&of_others);
                // No image is its own neighbour.
                let _ = cosines.narrow(1, start, images.size()[0]).fill_diagonal_(-2.0, false);
                let (values, places) = cosines.topk(each, 1, true, true);
                let _ = similarities.index_copy_(0, &images, &values);
                let _ = found.index_copy_(0, &images, &others.take(&places).to_kind(Kind::Int));
            }
        }
        let (indices, similarities) = (to_vec(&found), to_vec(&similarities));
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
    fn of_many_images_nearly_all_neighbours_are_found_and_the_same_again() {
        tch::manual_seed(7);
        let count = 9000_i64;
        let kind = (Kind::Float, tch::Device::Cpu);
        let centres = Tensor::randn([40, 32], kind) * 2.0;
        let classes = Tensor::arange(count, (Kind::Int64, tch::Device::Cpu)).remainder(40);
        let rows = centres.index_select(0, &classes) + Tensor::randn([count, 32], kind);
        // The second half are copies of the first, almost.
        let copies = rows.narrow(0, 0, count / 2) + Tensor::randn([count / 2, 32], kind) * 0.01;
        rows.narrow(0, count / 2, count / 2).copy_(&copies);
        let found = Nearest::of(&rows, |_| Ok(())).unwrap();
        let exact = Nearest::among_all(&unit(&rows), |_| Ok(())).unwrap();
        assert_eq!((found.images(), found.each), (9000, NEIGHBOURS));
        let mut hits = 0;
        for image in 0..9000 {
            let near: Vec<usize> = found.of_image(image).map(|(other, _)| other).collect();
            assert!(!near.contains(&image));
            assert!(found.of_image(image).is_sorted_by(|a, b| a.1 >= b.1));
            assert_eq!(near[0], (image + 4500) % 9000);
            hits += exact.of_image(image).filter(|(other, _)| near.contains(other)).count();
        }
        assert!(hits > 9000 * NEIGHBOURS * 97 / 100, "{hits}");
        let again = Nearest::of(&rows, |_| Ok(())).unwrap();
        assert!(again.indices == found.indices && again.similarities == found.similarities);
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
