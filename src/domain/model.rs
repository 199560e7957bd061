//! Models: the card in a model file, and the model of the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    JobId, ModelId, Name, Timestamp,
    dataset::{Classes, Digest},
    metrics::SplitMetrics,
    parameters::Params,
    recipe::Recipe,
};

/// Network architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Five convolutions and a dense layer, `architectures::cnn`.
    Cnn,
    /// VGG16 under two dense layers, `architectures::vgg16`.
    Vgg16,
    /// EfficientNet-Lite0 under a dense layer, `architectures::efficientnet`.
    EfficientnetLite0,
}

impl Architecture {
    /// The name in the API, the database and the card.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::Vgg16 => "vgg16",
            Self::EfficientnetLite0 => "efficientnet_lite0",
        }
    }
}

/// How the bytes of an image become a network's input, for training and for predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Version of the rules by which bytes become pixels, [`Preprocessing::VERSION`] of the program
    /// that trained the network. Files from before version 4 don't have it.
    #[serde(default = "Preprocessing::unnamed_version")]
    pub version: u32,
    /// Width in pixels; the aspect ratio is not kept.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How images are resized.
    pub resize: Resize,
    /// How a byte becomes the network's input.
    pub normalise: Normalization,
}

impl Preprocessing {
    /// RGB in 0 to 1 at 180×180: the input of the small network.
    pub const UNIT_180: Self = Self::at_180(Normalization::UnitRange);

    /// Raised by each change of the pixels for the same bytes: of a decoder, of the orientation, of
    /// resizing. Cached pixels and features of another version are recomputed. A model of another
    /// version can still be used, as long as its canaries agree.
    ///
    /// | version | since |
    /// |---|---|
    /// | 4 | JPEGs give libjpeg-turbo's pixels; orientation also in XMP and in text chunks of PNG |
    /// | 3 | truncated JPEGs are rejected |
    pub const VERSION: u32 = 4;

    const fn unnamed_version() -> u32 {
        3
    }

    /// 180×180, the size of the reference notebook.
    #[must_use]
    pub const fn at_180(normalise: Normalization) -> Self {
        Self::square(180, normalise)
    }

    /// 224×224, the size of EfficientNet-Lite0.
    #[must_use]
    pub const fn at_224(normalise: Normalization) -> Self {
        Self::square(224, normalise)
    }

    const fn square(side: u32, normalise: Normalization) -> Self {
        let (version, resize) = (Self::VERSION, Resize::BilinearAntialiased);
        Self { version, width: side, height: side, resize, normalise }
    }

    /// Bytes of one preprocessed image.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }
}

/// A way to resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Bilinear over the area that a target pixel covers (a triangle filter, as in Pillow), so that
    /// a large image and its thumbnail give the same pixels.
    BilinearAntialiased,
}

/// A way to turn RGB bytes into numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// RGB, divided by 255.
    UnitRange,
    /// BGR in 0 to 255, minus 103.939, 116.779 and 123.68: Keras' VGG16.
    Caffe,
    /// RGB divided by 255, minus 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225:
    /// torchvision's VGG16.
    Torch,
    /// RGB minus 127, divided by 128: EfficientNet-Lite0.
    Centred,
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
    /// Number of parameters.
    pub parameters: u64,
    /// Creation time.
    pub created_at: Timestamp,
    /// Logits of the canary images, in their order; see `model_file::canary`.
    pub canaries: Vec<f32>,
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
    /// Whether the model is in service.
    pub in_service: bool,
}
