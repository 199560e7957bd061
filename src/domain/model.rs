//! Models: the card that travels in the file, and the row that the API shows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    JobId, ModelId, Name, Timestamp,
    dataset::{Classes, Digest},
    metrics::SplitMetrics,
    parameters::Params,
    recipe::Recipe,
};

/// The layers of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Five convolutions and a dense layer, `architectures::cnn`.
    Cnn,
    /// VGG16 under two dense layers, `architectures::vgg16`.
    Vgg16,
}

impl Architecture {
    /// The word of the API, the database and the card.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::Vgg16 => "vgg16",
        }
    }
}

/// How the bytes of a photo become a network's input: what it was trained on and must be asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Version of the rules by which bytes become pixels, [`Preprocessing::VERSION`] of the program
    /// that trained the network. Files of before version 4 don't name it.
    #[serde(default = "Preprocessing::unnamed_version")]
    pub version: u32,
    /// Pixels across; the aspect is not kept.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// How images are resized.
    pub resize: Resize,
    /// How a byte becomes the network's input.
    pub normalise: Normalization,
}

impl Preprocessing {
    /// RGB in 0 to 1 at 180×180: what the small network takes.
    pub const UNIT_180: Self = Self::at_180(Normalization::UnitRange);

    /// Raised by each change that gives other pixels for the same bytes, or none: of a decoder, of
    /// the orientation, of resizing. Pixels and features that were kept under another version are
    /// computed anew. A model of another version still answers, as long as its canaries agree.
    ///
    /// | version | since |
    /// |---|---|
    /// | 4 | JPEGs give libjpeg-turbo's pixels; orientation also in XMP and in text chunks of PNG |
    /// | 3 | JPEGs whose data is cut short are refused |
    pub const VERSION: u32 = 4;

    const fn unnamed_version() -> u32 {
        3
    }

    /// 180×180, the size of the reference notebook.
    #[must_use]
    pub const fn at_180(normalise: Normalization) -> Self {
        let (version, resize) = (Self::VERSION, Resize::BilinearAntialiased);
        Self { version, width: 180, height: 180, resize, normalise }
    }

    /// Bytes of one image that is ready.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }
}

/// A way to resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Bilinear over the area that a target pixel covers (a triangle filter, as in Pillow), so
    /// that a large photo and its thumbnail give the same picture.
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
}

/// Weights that others trained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pretrained {
    /// Whose they are.
    pub origin: String,
    /// SHA-256 of the file that they came in.
    pub sha256: Digest,
}

/// The card of a model, in the header of its file: where it comes from and how to ask it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Version of this form of card.
    pub format: u32,
    /// The program that wrote it.
    pub pawprint_version: String,
    /// The model's id.
    pub id: ModelId,
    /// The model's name.
    pub name: Name,
    /// Its layers.
    pub architecture: Architecture,
    /// Its classes, in the order of their indices.
    pub classes: Classes,
    /// How to ask it.
    pub preprocessing: Preprocessing,
    /// How it was trained.
    pub recipe: Recipe,
    /// With which parameters.
    pub params: Params,
    /// The weights it began with, where they were not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<Pretrained>,
    /// On which dataset.
    pub dataset: Name,
    /// On which version of it.
    pub dataset_version: Digest,
    /// The job that made it.
    pub job_id: JobId,
    /// The epoch its weights are of, from 1; 0 where fine-tuning kept the head it began with.
    pub epoch: u32,
    /// The validation split at that epoch.
    pub validation: SplitMetrics,
    /// The test split, if there is one.
    pub test: Option<SplitMetrics>,
    /// Weights in all.
    pub parameters: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Logits of the canary images, in their order; see `model_file::canary`.
    pub canaries: Vec<f32>,
}

/// A model as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Model {
    /// Its id.
    pub id: ModelId,
    /// Its unique name.
    pub name: Name,
    /// How it was trained.
    pub recipe: Recipe,
    /// Its layers.
    pub architecture: String,
    /// Its classes, in the order of their indices.
    pub classes: Classes,
    /// The job that made it, while that is kept.
    pub job_id: Option<JobId>,
    /// Name of the dataset it was trained on.
    pub dataset: Name,
    /// Version of that dataset.
    pub dataset_version: Digest,
    /// Loss on the validation split.
    pub val_loss: f64,
    /// Accuracy on the validation split.
    pub val_accuracy: f64,
    /// Accuracy on the test split, if there is one.
    pub test_accuracy: Option<f64>,
    /// Weights in all.
    pub parameters: u64,
    /// Size of its file.
    pub bytes: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Whether it answers predictions now.
    pub in_service: bool,
}
