//! Cells of images whose features point in similar directions (spherical k-means; Dhillon and Modha,
//! 2001), so that neighbours are sought in a few cells instead of among all images.

use tch::{Kind, Tensor};

use super::features::{to_vec, unit};

/// Mean number of images of a cell.
pub const IMAGES: usize = 512;
/// Cells of fewer images are given up.
const MIN_IMAGES: usize = 64;
/// Cells of more images are halved: what is compared with a cell must not grow with the dataset.
const MAX_IMAGES: usize = 2048;
/// Iterations of k-means, and images for each cell that it sees.
const ITERATIONS: usize = 10;
const SAMPLED: usize = 64;
/// Images that are compared with all cells at a time.
const BLOCK: usize = 4096;

/// Cells that every image is in one of. The same features give the same cells.
#[derive(Debug)]
pub struct Cells {
    /// The images of each cell, ascending.
    pub members: Vec<Vec<i64>>,
    /// Mean directions, `[cells, width]`, of length 1.
    centroids: Tensor,
}

impl Cells {
    /// Of these features, `[images, width]`; at least [`IMAGES`].
    #[must_use]
    pub fn of(features: &Tensor) -> Self {
        let images = features.size()[0];
        let number = (images as usize / IMAGES).max(1) as i64;
        let spread = |rows: &Tensor, count: i64| {
            let of = rows.size()[0];
            let places: Vec<i64> = (0..count).map(|place| place * of / count).collect();
            rows.index_select(0, &Tensor::from_slice(&places))
        };
        let sample = unit(&spread(features, images.min(number * SAMPLED as i64)));
        let mut centroids = spread(&sample, number);
        for _ in 0..ITERATIONS {
            let of_blocks = blocks(&sample).map(|(_, rows)| nearest(&rows, &centroids));
            let nearest = Tensor::cat(&of_blocks.collect::<Vec<_>>(), 0);
            let sums = centroids.zeros_like().index_add(0, &nearest, &sample);
            // A cell that lost all its images stays where it is.
            let lost = sums.abs().sum_dim_intlist([1].as_slice(), true, Kind::Float).eq(0.0);
            centroids = unit(&sums.where_self(&lost.logical_not(), &centroids));
        }
        drop(sample);
        let sizes: Vec<usize> = members(features, &centroids).iter().map(Vec::len).collect();
        let large = (0..number).filter(|cell| sizes[*cell as usize] >= MIN_IMAGES);
        let centroids = centroids.index_select(0, &Tensor::from_slice(&large.collect::<Vec<_>>()));
        let mut halved = Vec::new();
        for images in members(features, &centroids) {
            halve(features, images, &mut halved);
        }
        let of_cell = |images: &Vec<i64>| {
            units(features, images).mean_dim([0].as_slice(), false, Kind::Float)
        };
        let centroids = Tensor::stack(&halved.iter().map(of_cell).collect::<Vec<_>>(), 0);
        Self { members: halved, centroids: unit(&centroids) }
    }

    /// The `number` cells that are nearest to each, itself first.
    #[must_use]
    pub fn nearest(&self, number: usize) -> Vec<Vec<usize>> {
        let number = number.min(self.members.len());
        let cosines = self.centroids.matmul(&self.centroids.tr());
        let _ = cosines.shallow_clone().fill_diagonal_(2.0, false);
        let (_, nearest) = cosines.topk(number as i64, 1, true, true);
        let of_cells: Vec<i64> = to_vec(&nearest);
        let rows = of_cells.chunks_exact(number);
        rows.map(|cells| cells.iter().map(|cell| *cell as usize).collect()).collect()
    }
}

fn blocks(rows: &Tensor) -> impl Iterator<Item = (usize, Tensor)> {
    let images = rows.size()[0] as usize;
    (0..images)
        .step_by(BLOCK)
        .map(move |start| (start, rows.narrow(0, start as i64, BLOCK.min(images - start) as i64)))
}

/// The rows of some images, of length 1.
fn units(features: &Tensor, images: &[i64]) -> Tensor {
    unit(&features.index_select(0, &Tensor::from_slice(images)))
}

/// The centroid that is nearest to each of some rows of length 1.
fn nearest(units: &Tensor, centroids: &Tensor) -> Tensor {
    units.matmul(&centroids.tr()).argmax(1, false)
}

/// The images that are nearest to each centroid.
fn members(features: &Tensor, centroids: &Tensor) -> Vec<Vec<i64>> {
    let mut members = vec![Vec::new(); centroids.size()[0] as usize];
    for (start, block) in blocks(features) {
        for (image, cell) in (start..).zip(to_vec::<i64>(&nearest(&unit(&block), centroids))) {
            members[cell as usize].push(image as i64);
        }
    }
    members
}

/// Adds `images` to `cells`, halved until each part is small enough: by their cosine to the image
/// that is farthest from their mean.
fn halve(features: &Tensor, mut images: Vec<i64>, cells: &mut Vec<Vec<i64>>) {
    if images.len() <= MAX_IMAGES {
        images.sort_unstable();
        cells.push(images);
        return;
    }
    let rows = units(features, &images);
    let farthest = rows.mv(&rows.mean_dim([0].as_slice(), false, Kind::Float)).argmin(0, false);
    let cosines: Vec<f32> = to_vec(&rows.mv(&rows.get(farthest.int64_value(&[]))));
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by(|a, b| cosines[*b].total_cmp(&cosines[*a]));
    drop(rows);
    let (near, far) = order.split_at(images.len() / 2);
    for half in [near, far] {
        halve(features, half.iter().map(|place| images[*place]).collect(), cells);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_in_one_cell_of_bounded_size_also_if_most_are_alike() {
        tch::manual_seed(6);
        let rows = Tensor::randn([6000, 16], (Kind::Float, tch::Device::Cpu));
        let _ = rows.narrow(0, 0, 5000).fill_(1.0);
        let cells = Cells::of(&rows);
        let mut images = cells.members.concat();
        images.sort_unstable();
        assert_eq!(images, (0..6000).collect::<Vec<_>>());
        let sizes: Vec<usize> = cells.members.iter().map(Vec::len).collect();
        assert!(sizes.iter().all(|size| (1..=MAX_IMAGES).contains(size)), "{sizes:?}");
        let nearest = cells.nearest(3);
        assert!(nearest.iter().enumerate().all(|(cell, near)| near[0] == cell && near.len() == 3));
    }
}
