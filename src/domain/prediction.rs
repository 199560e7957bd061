//! Predictions of images.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{
    ClassName, ModelId, Name, PredictionId,
    model::ModelCard,
    objective::{Logits, Objective},
    recipe::Recipe,
    selective::{AnswerThresholds, UnsureReason},
};

/// Prediction for one image.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Prediction {
    /// Id in the log of predictions; left out if it is not logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<PredictionId>,
    /// File name in the request, if any.
    pub file_name: Option<String>,
    /// Predicted class.
    pub label: ClassName,
    /// Probability of `label`.
    pub probability: f64,
    /// Probability of every class, or of the `top` most likely ones that were requested; the most
    /// likely one first.
    #[serde(serialize_with = "most_likely_first")]
    pub probabilities: BTreeMap<ClassName, f64>,
    /// Whether the model is unsure; left out if that was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsure: Option<bool>,
    /// Why it is unsure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnsureReason>,
}

fn most_likely_first<S: Serializer>(
    probabilities: &BTreeMap<ClassName, f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut ranked: Vec<_> = probabilities.iter().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(a.1));
    serializer.collect_map(ranked)
}

/// What a model computes of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelOutput {
    /// The outputs of its network.
    pub logits: Logits,
    /// The distance to its training images, 0 to 2; `None` for a model without them.
    pub distance: Option<f64>,
}

impl Prediction {
    /// The prediction of the model with that card and these thresholds.
    ///
    /// # Errors
    /// The number of logits is not that of the model's classes.
    pub fn new(
        file_name: Option<String>,
        card: &ModelCard,
        thresholds: AnswerThresholds,
        output: &ModelOutput,
    ) -> Result<Self, WrongOutputs> {
        let ModelOutput { logits, distance } = output;
        let names = card.classes.names();
        let expected = Objective::of(&card.classes).outputs();
        if logits.0.len() != expected {
            return Err(WrongOutputs { outputs: logits.0.len(), expected });
        }
        let probabilities = logits.scaled(card.scale()).probabilities();
        let predicted = logits.predicted();
        let of_predicted = names.get(predicted).zip(probabilities.get(predicted));
        let (label, probability) =
            of_predicted.ok_or(WrongOutputs { outputs: logits.0.len(), expected })?;
        let (label, probability) = (label.clone(), *probability);
        let reason = thresholds.reason(probability, *distance);
        Ok(Self {
            id: None,
            file_name,
            label,
            probability,
            probabilities: names.iter().cloned().zip(probabilities).collect(),
            unsure: Some(reason.is_some()),
            reason,
        })
    }

    /// The same without a word on whether the model is unsure.
    #[must_use]
    pub fn without_unsure(self) -> Self {
        Self { unsure: None, reason: None, ..self }
    }

    /// The same with the `top` most likely classes alone.
    #[must_use]
    pub fn with_top(mut self, top: usize) -> Self {
        let mut ranked: Vec<_> = self.probabilities.into_iter().collect();
        // The predicted one first where others are as likely.
        ranked.sort_by(|a, b| {
            b.1.total_cmp(&a.1).then_with(|| (b.0 == self.label).cmp(&(a.0 == self.label)))
        });
        self.probabilities = ranked.into_iter().take(top).collect();
        self
    }
}

/// A network's outputs that don't fit its classes.
#[derive(Debug, thiserror::Error)]
#[error("the network has {outputs} outputs, expected {expected} for its classes")]
pub struct WrongOutputs {
    outputs: usize,
    expected: usize,
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
