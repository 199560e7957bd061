//! The picture of a dataset in two dimensions: t-SNE from its principal components on. FIt-SNE (Linderman et
//! al., 2019) takes time in proportion to the number of images; of few, Barnes–Hut (van der Maaten, 2014) is
//! faster.

use bhtsne::{Neighbor, tSNE};
use rayon::ThreadPoolBuilder;
use tch::{Kind, Tensor};

use super::{features::to_vec, nearest::Nearest};

/// Iterations.
const EPOCHS: usize = 500;
/// Iterations in which clusters are pulled together.
const EXAGGERATED: usize = 125;
/// Images up to which Barnes–Hut is used: the grid of FIt-SNE takes as long for ten as for thousands.
const FEW: usize = 500;
/// How coarsely Barnes–Hut groups what is far away.
const THETA: f32 = 0.5;
/// Standard deviation of the start.
const SPREAD: f64 = 1e-2;
/// Neighbours for each unit of perplexity.
const NEIGHBOURS: usize = 3;

/// A place for each image, `x` and `y` from 0 to 1; `features` are `[images, components]`, the
/// largest component first. The same features give the same places.
#[must_use]
pub fn places(features: &Tensor, nearest: &Nearest) -> (Vec<f32>, Vec<f32>) {
    let images = nearest.images();
    let centre =
        || (vec![0.5; features.size()[0] as usize], vec![0.5; features.size()[0] as usize]);
    if images < 2 * NEIGHBOURS + 2 || features.size()[1] < 2 {
        return centre();
    }
    let first = features.narrow(1, 0, 2);
    let scale = first.select(1, 0).std(true).double_value(&[]);
    // Images that are all the same have no places of their own.
    if scale.is_nan() || scale <= f64::EPSILON {
        return centre();
    }
    let start: Vec<f32> = to_vec(&(first / scale * SPREAD).to_kind(Kind::Float));
    let neighbours: Vec<Vec<Neighbor<f32>>> = (0..images)
        .map(|image| {
            let near = nearest.of_image(image);
            near.map(|(index, cosine)| Neighbor {
                index,
                // Of the rows of length 1.
                distance: (2.0 - 2.0 * cosine).max(0.0).sqrt(),
            })
            .collect()
        })
        .collect();
    let perplexity = (nearest.each / NEIGHBOURS) as f32;
    let fit = || {
        let data = vec![(); images];
        let mut tsne: tSNE<'_, f32, (), 2> = tSNE::new(&data);
        tsne.perplexity(perplexity)
            .epochs(EPOCHS)
            .stop_lying_epoch(EXAGGERATED)
            .momentum_switch_epoch(EXAGGERATED)
            .initial_embedding(start.clone());
        if images <= FEW {
            tsne.barnes_hut_with_neighbors(THETA, &neighbours);
        } else {
            tsne.fit_sne_with_neighbors(&neighbours);
        }
        tsne.embedding()
    };
    // Several threads sum in another order each time.
    let found = match ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(one) => one.install(fit),
        Err(error) => {
            tracing::warn!(%error, "the map is drawn by several threads");
            fit()
        }
    };
    let axis = |axis: usize| {
        let finite = |value: f32| if value.is_finite() { value } else { 0.0 };
        let values = || found.iter().skip(axis).step_by(2).copied().map(finite);
        let (low, high) = values()
            .fold((f32::MAX, f32::MIN), |(low, high), value| (low.min(value), high.max(value)));
        values().map(|value| (value - low) / (high - low).max(f32::MIN_POSITIVE)).collect()
    };
    (axis(0), axis(1))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn clusters_stay_together_and_places_are_the_same_again() {
        tch::manual_seed(4);
        let count = 300;
        let classes: Vec<i64> = (0..count).map(|image| image % 3).collect();
        let centres = Tensor::from_slice(&classes).one_hot(10).to_kind(Kind::Float) * 10.0;
        let features = centres + Tensor::randn([count, 10], (Kind::Float, Device::Cpu));
        let features = &features - features.mean_dim([0].as_slice(), true, Kind::Float);
        let nearest = Nearest::of(&features, |_| Ok(())).unwrap();
        let (x, y) = places(&features, &nearest);
        let again = places(&features, &nearest);
        assert!(again.0 == x && again.1 == y);
        let nearest_of = |image: usize| {
            let distance =
                |other: usize| (x[image] - x[other]).powi(2) + (y[image] - y[other]).powi(2);
            let others = (0..count as usize).filter(|other| *other != image);
            others.min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap()
        };
        let same = (0..count as usize).filter(|image| nearest_of(*image) % 3 == image % 3).count();
        assert!(same > 290, "{same}");
        assert!(x.iter().chain(&y).all(|value| (0.0..=1.0).contains(value)));
    }

    #[test]
    fn few_images_have_a_place_too() {
        let features = Tensor::zeros([3, 4], (Kind::Float, Device::Cpu));
        let nearest = Nearest::of(&features, |_| Ok(())).unwrap();
        assert_eq!(places(&features, &nearest).0.len(), 3);
    }

    #[test]
    fn images_that_are_all_the_same_have_a_place() {
        let features = Tensor::zeros([40, 4], (Kind::Float, Device::Cpu));
        let nearest = Nearest::of(&features, |_| Ok(())).unwrap();
        let (x, y) = places(&features, &nearest);
        assert!(x.len() == 40 && x.iter().chain(&y).all(|value| (0.0..=1.0).contains(value)));
    }
}
