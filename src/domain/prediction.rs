//! Predictions of images.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{ClassName, ModelId, Name, dataset::Classes, recipe::Recipe};

/// Prediction for one image.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Prediction {
    /// File name in the request, if any.
    pub file_name: Option<String>,
    /// Predicted class.
    pub label: ClassName,
    /// Probability of `label`.
    pub probability: f64,
    /// Probability of every class.
    pub probabilities: BTreeMap<ClassName, f64>,
}

impl Prediction {
    /// The prediction of a two-class network with one sigmoid output.
    ///
    /// `logit` is that of the second class. A probability of exactly 0.5 is predicted as the second
    /// class, as in the evaluation.
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

/// The model used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelRef {
    /// Id.
    pub id: ModelId,
    /// Name.
    pub name: Name,
    /// Training recipe.
    pub recipe: Recipe,
}

/// Timing in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Timing {
    /// Time to decode and resize the images.
    pub decode: f64,
    /// Time in the queue.
    pub queue: f64,
    /// Inference time.
    pub inference: f64,
    /// Total time of the request.
    pub total: f64,
}

/// Response of `POST /predict`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PredictResponse {
    /// One prediction per image, in request order.
    pub predictions: Vec<Prediction>,
    /// The model used.
    pub model: ModelRef,
    /// Timing in milliseconds.
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
