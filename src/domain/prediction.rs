//! What a model says of images.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{ModelId, Name, dataset::Classes, recipe::Recipe};

/// What a model says of one image.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Prediction {
    /// The name the image came under, if any.
    pub file_name: Option<String>,
    /// The likelier class.
    pub label: Name,
    /// Probability of `label`.
    pub probability: f64,
    /// Probability of every class.
    pub probabilities: BTreeMap<Name, f64>,
}

impl Prediction {
    /// The prediction of a two-class network with one sigmoid output.
    ///
    /// `logit` speaks for the second class. At exactly 0.5 the second class is taken, as in the
    /// evaluation.
    #[must_use]
    pub fn from_logit(file_name: Option<String>, classes: &Classes, logit: f64) -> Option<Self> {
        let [negative, positive] = classes.names() else { return None };
        let second = 1.0 / (1.0 + (-logit).exp());
        let (label, probability) =
            if second >= 0.5 { (positive, second) } else { (negative, 1.0 - second) };
        Some(Self {
            file_name,
            label: label.clone(),
            probability,
            probabilities: BTreeMap::from([
                (negative.clone(), 1.0 - second),
                (positive.clone(), second),
            ]),
        })
    }
}

/// The model that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelRef {
    /// Its id.
    pub id: ModelId,
    /// Its name.
    pub name: Name,
    /// How it was trained.
    pub recipe: Recipe,
}

/// Where the time of a request went, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Timing {
    /// Decoding and resizing.
    pub decode: f64,
    /// Waiting for the model.
    pub queue: f64,
    /// The network.
    pub inference: f64,
    /// The whole request.
    pub total: f64,
}

/// The answer of `POST /predict`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PredictResponse {
    /// One for each image, in their order.
    pub predictions: Vec<Prediction>,
    /// The model that answered.
    pub model: ModelRef,
    /// Where the time went.
    pub timing_ms: Timing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_the_likelier_class_and_the_probabilities_sum_to_one() {
        for (logit, label) in
            [(-3.0, "cat"), (0.0, "dog"), (3.0, "dog"), (800.0, "dog"), (-800.0, "cat")]
        {
            let prediction = Prediction::from_logit(None, &Classes::default(), logit).unwrap();
            assert_eq!(&*prediction.label, label);
            assert!(prediction.probability >= 0.5);
            assert!((prediction.probabilities.values().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
