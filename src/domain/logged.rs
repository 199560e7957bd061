//! Predictions that are kept in the log, and what people say about them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ClassName, ModelId, Name, PredictionId, Timestamp,
    dataset::{Classes, Digest},
    evaluation::Interval,
    prediction::Timing,
    selective::UnsureReason,
};

/// The model of a logged prediction. It may have been deleted since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LoggedModel {
    /// Id.
    pub id: ModelId,
    /// Name.
    pub name: Name,
}

/// The class that an image has, by whoever knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Feedback {
    /// The image's class.
    pub label: ClassName,
    /// Name of the API token; null if it was one of the settings, or none is required.
    pub by: Option<Name>,
    /// When it was given.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// A prediction in the log.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LoggedPrediction {
    /// Id.
    pub id: PredictionId,
    /// When it was answered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The model that was used.
    pub model: LoggedModel,
    /// File name in the request, if any.
    pub file_name: Option<String>,
    /// Predicted class.
    pub label: ClassName,
    /// Probability of `label`.
    pub probability: f64,
    /// Probability of every class; null for models of more than 50 classes.
    pub probabilities: Option<BTreeMap<ClassName, f64>>,
    /// Whether the model was unsure.
    pub unsure: bool,
    /// Why it was unsure.
    pub reason: Option<UnsureReason>,
    /// Distance to the training images, 0 to 2; null if the model can't compare images.
    pub distance: Option<f64>,
    /// Timing of its request.
    pub timing_ms: Timing,
    /// Name of the API token; null if it was one of the settings, or none is required.
    pub token: Option<Name>,
    /// SHA-256 of the image.
    pub sha256: Digest,
    /// Whether the image is kept.
    pub photo: bool,
    /// What is known of the image's class.
    pub feedback: Option<Feedback>,
}

/// Accuracy by feedback.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct FeedbackAccuracy {
    /// Predictions with feedback.
    pub count: u64,
    /// Those that it confirms.
    pub correct: u64,
    /// Their fraction; null without feedback.
    pub accuracy: Option<f64>,
    /// 95% confidence interval of the accuracy (Wilson).
    pub interval: Interval,
}

impl FeedbackAccuracy {
    /// That of `correct` predictions out of `count`.
    #[must_use]
    pub fn new(correct: u64, count: u64) -> Self {
        let accuracy = (count > 0).then(|| correct as f64 / count as f64);
        Self { count, correct, accuracy, interval: Interval::wilson(correct, count) }
    }
}

/// What the log holds of a model.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LoggedModelSummary {
    /// The model.
    #[serde(flatten)]
    pub model: LoggedModel,
    /// Class names, in the order of their indices.
    #[schema(value_type = Vec<ClassName>)]
    pub classes: Classes,
    /// Number of predictions.
    pub predictions: u64,
    /// Predictions that it was unsure of.
    pub unsure: u64,
    /// Accuracy of the predictions with feedback. People look at unsure answers first, so that the accuracy
    /// of all predictions may be higher.
    pub feedback: FeedbackAccuracy,
    /// The same without those that it was unsure of.
    pub sure_feedback: FeedbackAccuracy,
}
