//! Logistic regression on the features of some images.

use tch::{Device, Kind, Tensor};

use super::features::to_vec;
use crate::{
    device::ComputeConfig,
    domain::objective::Objective,
    training::{loss::Loss, recipes::minimise},
};

/// Images whose probabilities are computed at a time.
const BLOCK: usize = 4096;

/// The images of a dataset that have a label, for regressions on some of them.
#[derive(Debug)]
pub struct Labelled<'a> {
    /// Features of all images of the dataset, `[images, width]`, fp32.
    pub features: &'a Tensor,
    /// The row of each labelled image.
    pub rows: &'a [i64],
    /// Its class.
    pub labels: &'a [usize],
    /// The number of classes.
    pub classes: usize,
}

/// A solved regression.
#[derive(Debug)]
pub struct Classifier {
    weight: Tensor,
    bias: Tensor,
    classes: usize,
}

impl Labelled<'_> {
    /// Solves the regression on the images `chosen`, under a regularisation of `strength`.
    #[must_use]
    pub fn fit(&self, chosen: &[usize], strength: f64) -> Classifier {
        let objective =
            if self.classes == 2 { Objective::Sigmoid } else { Objective::Softmax(self.classes) };
        let loss = Loss::new(objective, None, ComputeConfig::cpu());
        let labels: Vec<usize> = chosen.iter().map(|image| self.labels[*image]).collect();
        let (outputs, width) = (objective.outputs() as i64, self.features.size()[1]);
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let (mut weight, mut bias) = (zeros(&[outputs, width]), zeros(&[outputs]));
        let rows = Tensor::from_slice(&self.rows_of(chosen));
        let (features, targets) = (self.features.index_select(0, &rows), loss.targets_of(&labels));
        minimise(&loss, &features, &targets, strength, &mut weight, &mut bias);
        Classifier { weight, bias, classes: self.classes }
    }

    /// The probabilities of all classes for the images `chosen`, `[chosen, classes]`, row by row.
    #[must_use]
    pub fn probabilities(&self, classifier: &Classifier, chosen: &[usize]) -> Vec<f32> {
        classifier.probabilities(self.features, &self.rows_of(chosen))
    }

    fn rows_of(&self, chosen: &[usize]) -> Vec<i64> {
        chosen.iter().map(|image| self.rows[*image]).collect()
    }
}

impl Classifier {
    /// The probabilities of all classes for these rows of `features`, `[rows, classes]`, row by row.
    #[must_use]
    pub fn probabilities(&self, features: &Tensor, rows: &[i64]) -> Vec<f32> {
        let of_block = |rows: &[i64]| {
            let features = features.index_select(0, &Tensor::from_slice(rows));
            let logits = features.linear(&self.weight, Some(&self.bias));
            let probabilities = if self.classes == 2 {
                let second = logits.sigmoid();
                Tensor::cat(&[1.0 - &second, second], 1)
            } else {
                logits.softmax(1, Kind::Float)
            };
            to_vec::<f32>(&probabilities)
        };
        rows.chunks(BLOCK).flat_map(of_block).collect()
    }
}

/// The place of the largest of some probabilities, and its value.
#[must_use]
pub fn most_probable(probabilities: &[f32]) -> (usize, f32) {
    let ranked = probabilities.iter().copied().enumerate();
    ranked.fold((0, f32::MIN), |best, next| if next.1 > best.1 { next } else { best })
}
