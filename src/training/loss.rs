//! The loss of a classifier, on the training device.

use tch::{Kind, Reduction, Tensor};

use crate::{
    device::ComputeConfig,
    domain::{dataset::Sample, objective::Objective},
};

/// Cross-entropy of a network's logits `[n, outputs]`.
#[derive(Debug)]
pub struct Loss {
    objective: Objective,
    compute: ComputeConfig,
    /// The weight of each class, `[classes]`, fp32, in what training minimises.
    class_weights: Option<Tensor>,
}

impl Loss {
    /// For a network with that objective; `class_weights` has one number for each class.
    #[must_use]
    pub fn new(
        objective: Objective,
        class_weights: Option<&[f64]>,
        compute: ComputeConfig,
    ) -> Self {
        let tensor =
            |weights| Tensor::from_slice(weights).to_kind(Kind::Float).to_device(compute.device);
        let class_weights = class_weights.map(tensor);
        Self { objective, compute, class_weights }
    }

    /// The labels of `samples` as a network's targets, whose shape and kind are only for the other
    /// methods.
    pub fn targets(&self, samples: &[Sample]) -> Tensor {
        let labels: Vec<usize> = samples.iter().map(|sample| sample.label).collect();
        self.targets_of(&labels)
    }

    /// As [`Loss::targets`], of indices of classes.
    pub fn targets_of(&self, labels: &[usize]) -> Tensor {
        let (targets, kind) = match self.objective {
            Objective::Sigmoid => {
                let labels: Vec<f32> = labels.iter().map(|label| *label as f32).collect();
                (Tensor::from_slice(&labels).unsqueeze(1), Kind::Float)
            }
            Objective::Softmax(_) => {
                let labels: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
                (Tensor::from_slice(&labels), Kind::Int64)
            }
        };
        // A few hundred bytes, not waited for.
        targets.to_device_(self.compute.device, kind, true, false)
    }

    /// Cross-entropy of each image, `[n]`.
    pub fn of_images(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
        match self.objective {
            Objective::Sigmoid => logits
                .binary_cross_entropy_with_logits::<Tensor>(targets, None, None, Reduction::None)
                .squeeze_dim(1),
            Objective::Softmax(_) => {
                logits.cross_entropy_loss::<Tensor>(targets, None, Reduction::None, -100, 0.0)
            }
        }
    }

    /// What training minimises: the mean of the losses of images, each times the weight of its
    /// class.
    pub fn mean(&self, losses: &Tensor, targets: &Tensor) -> Tensor {
        match self.weights(targets) {
            Some(weights) => (losses * weights).mean(None),
            None => losses.mean(None),
        }
    }

    /// The weight of each image, `[n]`; `None` if all have 1.
    pub fn weights(&self, targets: &Tensor) -> Option<Tensor> {
        let weights = self.class_weights.as_ref()?;
        Some(weights.index_select(0, &targets.to_kind(Kind::Int64).flatten(0, -1)))
    }

    /// The derivatives of the losses of images by the logits, `[n, outputs]`.
    pub fn residuals(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
        match self.objective {
            Objective::Sigmoid => logits.sigmoid() - targets,
            Objective::Softmax(classes) => {
                logits.softmax(1, Kind::Float) - targets.one_hot(classes as i64)
            }
        }
    }

    /// Which images are classified correctly, `[n]`.
    pub fn correct(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
        match self.objective {
            Objective::Sigmoid => logits.ge(0.0).eq_tensor(&targets.gt(0.5)).squeeze_dim(1),
            Objective::Softmax(_) => logits.argmax(1, false).eq_tensor(targets),
        }
    }
}
