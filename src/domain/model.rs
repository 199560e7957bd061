//! Models: the card in a model file, and the model of the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    JobId, ModelId, Name, Timestamp,
    base::Base,
    baseline::{Baseline, ValidationAnswers},
    dataset::{Classes, Digest},
    excerpt::Excerpt,
    metrics::SplitMetrics,
    parameters::Params,
    preprocessing::Preprocessing,
    recipe::Recipe,
    selective::{AnswerThresholds, Coverage},
};

/// Network architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Architecture {
    /// Five convolutions and a dense layer, `architectures::cnn`.
    Cnn,
    /// A base network under its head, `architectures::classifier`.
    Base(&'static Base),
}

impl Architecture {
    /// The name in the API, the database and the card.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::Base(base) => base.id(),
        }
    }
}

impl Architecture {
    /// Width of what its images are compared by, the channels of its last maps; `None` if it can't
    /// tell what is unlike its training images.
    #[must_use]
    pub fn embedding_width(self) -> Option<i64> {
        match self {
            Self::Cnn => None,
            Self::Base(base) => Some(base.channels()),
        }
    }
}

impl From<Architecture> for &'static str {
    fn from(architecture: Architecture) -> Self {
        architecture.as_str()
    }
}

/// A string that names no architecture.
#[derive(Debug, thiserror::Error)]
#[error("unknown architecture `{}`; a newer version of Pawprint may have it", Excerpt(.0))]
pub struct UnknownArchitecture(String);

impl TryFrom<String> for Architecture {
    type Error = UnknownArchitecture;

    fn try_from(text: String) -> Result<Self, UnknownArchitecture> {
        if text == Self::Cnn.as_str() {
            return Ok(Self::Cnn);
        }
        Base::find(&text).map(Self::Base).ok_or(UnknownArchitecture(text))
    }
}

/// Pretrained weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pretrained {
    /// Their publisher.
    pub origin: String,
    /// SHA-256 of the source file.
    pub sha256: Digest,
}

/// The card of a model, in the header of its file: its origin and its preprocessing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Version of the card format.
    pub format: u32,
    /// The program that wrote it.
    pub pawprint_version: String,
    /// The model's id.
    pub id: ModelId,
    /// The model's name.
    pub name: Name,
    /// Network architecture.
    pub architecture: Architecture,
    /// Class names, in the order of their indices.
    pub classes: Classes,
    /// Preprocessing of its input.
    pub preprocessing: Preprocessing,
    /// Training recipe.
    pub recipe: Recipe,
    /// Training parameters.
    pub params: Params,
    /// The pretrained weights it started from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<Pretrained>,
    /// Name of the dataset it was trained on.
    pub dataset: Name,
    /// Version of that dataset.
    pub dataset_version: Digest,
    /// Id of its training job.
    pub job_id: JobId,
    /// The epoch of its weights, starting at 1; 0 if fine-tuning kept its initial head.
    pub epoch: u32,
    /// Metrics of the validation split at that epoch.
    pub validation: SplitMetrics,
    /// Metrics of the test split, if there is one.
    pub test: Option<SplitMetrics>,
    /// What its logits are divided by before they become probabilities; older models have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Hash of the features of training images in the file, `neighbours` `[images, width]` int8; older
    /// models have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<Digest>,
    /// When it is unsure; older models never are.
    #[serde(default)]
    pub thresholds: AnswerThresholds,
    /// Accuracy and share of answered images of the validation split; empty for older models.
    #[serde(default)]
    pub coverage: Coverage,
    /// Its answers to the validation images; older models have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<ValidationAnswers>,
    /// Number of parameters.
    pub parameters: u64,
    /// Creation time.
    pub created_at: Timestamp,
    /// Logits of the canary images, in their order; see `model_file::canary`.
    pub canaries: Vec<f32>,
}

impl ModelCard {
    /// The factor of its logits: the inverse of the temperature.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.temperature.map_or(1.0, f64::recip)
    }

    /// What its predictions in use are compared with.
    #[must_use]
    pub fn baseline(&self) -> Baseline {
        Baseline {
            images: self.validation.count,
            thresholds: self.thresholds,
            coverage: self.coverage.clone(),
            answers: self.answers.clone(),
        }
    }
}

/// Model.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Model {
    /// Id.
    pub id: ModelId,
    /// Unique name.
    pub name: Name,
    /// Training recipe.
    pub recipe: Recipe,
    /// Network architecture.
    pub architecture: String,
    /// Class names, in the order of their indices.
    pub classes: Classes,
    /// Id of its training job; null if the job was deleted.
    pub job_id: Option<JobId>,
    /// Name of the dataset it was trained on.
    pub dataset: Name,
    /// Version of that dataset.
    pub dataset_version: Digest,
    /// Validation loss.
    pub val_loss: f64,
    /// Validation accuracy.
    pub val_accuracy: f64,
    /// Test accuracy; null if there are no test images.
    pub test_accuracy: Option<f64>,
    /// Number of parameters.
    pub parameters: u64,
    /// File size in bytes.
    pub bytes: u64,
    /// Creation time.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it is unsure.
    #[serde(flatten)]
    pub thresholds: AnswerThresholds,
    /// Whether the model is in service.
    pub in_service: bool,
}
