//! How far an image is from the training images of a model, by its features: the cosine distance to
//! the third nearest of some of them, which the model file contains (Sun, Ming, Zhu and Li, 2022).
//!
//! Used by the trainer, which chooses the training images and a threshold, and by whoever answers
//! with the model.

use tch::{Device, Kind, Tensor};

use crate::{
    domain::{dataset::Digest, model::ModelCard},
    weights::tensors::Tensors,
};

/// The name in a model file.
pub(crate) const NAME: &str = "neighbours";
/// Maximum training images that are kept.
pub const MAX_IMAGES: usize = 1000;
/// Which of the nearest counts: a single odd training image must not vouch for others like it.
pub(crate) const RANK: i64 = 3;

/// Features of training images.
#[derive(Debug)]
pub struct Neighbours {
    /// `[images, width]`, int8.
    quantised: Tensor,
    /// `[images, width]`, fp32, rows of length 1.
    features: Tensor,
}

impl Neighbours {
    /// Of images with these embeddings, `[images, width]`.
    #[must_use]
    pub fn new(embeddings: &Tensor) -> Self {
        let unit = unit(embeddings);
        let largest = unit.abs().amax([1].as_slice(), true).clamp_min(f64::from(f32::MIN_POSITIVE));
        let quantised = (unit / largest * 127.0).round().to_kind(Kind::Int8);
        Self::of_quantised(quantised, embeddings.device())
    }

    fn of_quantised(quantised: Tensor, device: Device) -> Self {
        let features = unit(&quantised.to_device(device));
        Self { quantised, features }
    }

    /// Takes those of the model with that card out of its tensors; `None` if it has none.
    ///
    /// # Errors
    /// A message: they are missing, of another shape, or not those that the card names.
    pub fn take_from(
        tensors: &mut Tensors,
        card: &ModelCard,
        device: Device,
    ) -> Result<Option<Self>, String> {
        let Some(width) = card.architecture.embedding_width() else { return Ok(None) };
        let Some(quantised) = tensors.remove(NAME) else {
            return match card.neighbours {
                Some(_) => Err(format!("tensor `{NAME}` is missing")),
                None => Ok(None),
            };
        };
        match (quantised.kind(), &*quantised.size()) {
            (Kind::Int8, [images, found])
                if (1..=MAX_IMAGES as i64).contains(images) && *found == width => {}
            (kind, shape) => {
                return Err(format!(
                    "tensor `{NAME}` is {kind:?} {shape:?}, expected Int8 [1 to {MAX_IMAGES}, {width}]"
                ));
            }
        }
        let neighbours = Self::of_quantised(quantised, device);
        if card.neighbours != Some(neighbours.digest()) {
            return Err(format!("tensor `{NAME}` is not the one that the model card names"));
        }
        Ok(Some(neighbours))
    }

    /// The hash of the features, for the card: no canary image tells a change of a few.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut bytes = vec![0; self.quantised.numel()];
        let quantised = self.quantised.to_device(Device::Cpu).contiguous();
        quantised.copy_data_u8(&mut bytes, self.quantised.numel());
        Digest::of(&bytes)
    }

    /// Adds them to the tensors of a model file.
    pub fn insert_into(&self, tensors: &mut Tensors) {
        tensors.insert(NAME.to_owned(), self.quantised.shallow_clone());
    }

    /// The distance of each image with these embeddings, `[n, width]`, 0 to 2.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn distances(&self, embeddings: &Tensor) -> Result<Vec<f64>, tch::TchError> {
        let similarities = unit(embeddings).f_matmul(&self.features.tr())?;
        kth_distances(&similarities, RANK.min(self.features.size()[0]))
    }

    /// The distance of each training image to the others; none if there are fewer than two.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn among_themselves(&self) -> Result<Vec<f64>, tch::TchError> {
        let images = self.features.size()[0];
        if images < 2 {
            return Ok(Vec::new());
        }
        let mut similarities = self.features.f_matmul(&self.features.tr())?;
        // An image is no neighbour of itself: -1 is as far as can be.
        let similarities = similarities.f_fill_diagonal_(-1.0, false)?;
        kth_distances(&similarities, RANK.min(images - 1))
    }

    /// The same for another thread; the memory is shared.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { quantised: self.quantised.shallow_clone(), features: self.features.shallow_clone() }
    }
}

/// The distance to the `rank`th nearest, of the similarities `[n, images]`.
fn kth_distances(similarities: &Tensor, rank: i64) -> Result<Vec<f64>, tch::TchError> {
    let (nearest, _) = similarities.f_topk(rank, 1, true, true)?;
    let distances: Tensor = 1.0 - nearest.f_select(1, rank - 1)?.to_kind(Kind::Double);
    distances.to_device(Device::Cpu).try_into()
}

/// Rows of length 1, fp32; a row of zeros stays one.
fn unit(rows: &Tensor) -> Tensor {
    let rows = rows.to_kind(Kind::Float);
    let length = rows.square().sum_dim_intlist([1].as_slice(), true, Kind::Float).sqrt();
    rows / length.clamp_min(f64::from(f32::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_nearest_counts_whatever_the_length() {
        let known = Tensor::from_slice2(&[[1.0_f32, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.0]]);
        let neighbours = Neighbours::new(&known);
        let asked = Tensor::from_slice2(&[[5.0_f32, 0.0], [0.0, -1.0]]);
        let distances = neighbours.distances(&asked).unwrap();
        for (distance, expected) in distances.iter().zip([1.0, 1.0 + 0.5_f64.sqrt()]) {
            assert!((distance - expected).abs() < 0.01, "{distance} {expected}");
        }
    }

    #[test]
    fn an_image_is_no_neighbour_of_itself() {
        let known = Tensor::from_slice2(&[[1.0_f32, 0.0], [0.0, 1.0]]);
        assert_eq!(Neighbours::new(&known).among_themselves().unwrap(), [1.0, 1.0]);
        let one = Neighbours::new(&Tensor::from_slice2(&[[1.0_f32, 0.0]]));
        assert!(one.among_themselves().unwrap().is_empty());
    }

    #[test]
    fn few_images_and_features_of_zeros_have_a_distance() {
        let neighbours = Neighbours::new(&Tensor::from_slice2(&[[0.0_f32, 0.0]]));
        let distances = neighbours.distances(&Tensor::from_slice2(&[[0.0_f32, 0.0], [1.0, 1.0]]));
        assert_eq!(distances.unwrap(), [1.0, 1.0]);
    }
}
