//! What a dataset hides: the result of reviewing its images by their features.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    DatasetId, ImageId, Timestamp,
    dataset::{Digest, Split},
};

/// An image to review: one line of a review's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Photo {
    /// Its id.
    pub image_id: ImageId,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Index of its class; `None` if it is unlabelled.
    pub label: Option<usize>,
    /// Its split; `None` if it is unlabelled.
    pub split: Option<Split>,
    /// The shorter side in pixels.
    pub shorter_side: u32,
}

/// Everything that was found, most remarkable first in each list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// The dataset.
    pub dataset_id: DatasetId,
    /// Its revision: what changed since is not considered.
    pub revision: i64,
    /// Its classes at that revision.
    pub classes: Vec<super::ClassName>,
    /// When the review was complete.
    pub computed_at: Timestamp,
    /// Seconds that it took.
    pub seconds: f64,
    /// Reviewed images with a label.
    pub labelled: u64,
    /// Reviewed images without a label.
    pub unlabelled: u64,
    /// Images whose file can't be read.
    pub unreadable: u64,
    /// Estimated number of wrong labels (confident learning).
    pub estimated_wrong: u64,
    /// Images whose label is probably wrong.
    pub mislabelled: Vec<Suspect>,
    /// Groups of near-duplicates, those across splits first.
    pub duplicates: Vec<DuplicateGroup>,
    /// Images that are unlike the rest, or that show little.
    pub outliers: Vec<Outlier>,
    /// Unlabelled images, those that would teach most first.
    pub suggestions: Vec<Suggestion>,
    /// What choosing the images to label gains; `None` for small datasets.
    pub curve: Option<LabellingCurve>,
    /// All images in two dimensions.
    pub map: Map,
}

/// An image whose label is probably wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// The image.
    pub image_id: ImageId,
    /// The class that it is labelled with.
    pub label: usize,
    /// Out-of-sample probability of that class.
    pub probability: f64,
    /// The most probable class.
    pub suggested: usize,
    /// Its out-of-sample probability.
    pub suggested_probability: f64,
}

/// Images that show the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicateGroup {
    /// The images, in the order of their ids.
    pub images: Vec<ImageId>,
    /// The least correlation of pixels among the pairs that join the group, 0 to 1.
    pub similarity: f64,
    /// Whether they were in more than one split.
    pub across_splits: bool,
}

/// Why an image is listed as unlike the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// Far from the other images by its features.
    Unlike,
    /// Hardly any differences of brightness.
    Blank,
    /// Hardly any light.
    Dark,
    /// No sharp edges.
    Blurred,
    /// Few pixels, in a dataset of larger images.
    Small,
}

/// An image that is unlike the rest, or shows little.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// The image.
    pub image_id: ImageId,
    /// Why.
    pub reasons: Vec<Oddity>,
    /// Cosine distance to a far neighbour, 0 to 2.
    pub distance: f64,
}

/// An unlabelled image, and the label that it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The image.
    pub image_id: ImageId,
    /// The most probable class; `None` if fewer than two classes have images to learn from.
    pub suggested: Option<usize>,
    /// Its probability.
    pub probability: f64,
    /// That of the class after it, subtracted: the less, the more the label would teach.
    pub margin: f64,
}

/// Accuracy on images that are not learned from, by the number of labels given: measured by
/// hiding the labels of training images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LabellingCurve {
    /// Numbers of labels.
    pub labels: Vec<usize>,
    /// Mean accuracy if the images to label are chosen.
    pub chosen: Vec<f64>,
    /// Mean accuracy if they are random.
    pub random: Vec<f64>,
    /// What accuracy is measured on; null in results of earlier versions.
    pub tested: Option<Tested>,
}

/// Images that accuracy is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tested {
    /// Their split.
    pub split: Split,
    /// Their number: of many images, a part is measured on.
    pub images: usize,
}

/// A place for each image, so that images that look alike are close; all lists have the same length.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// The images.
    pub images: Vec<ImageId>,
    /// From the left, 0 to 1.
    pub x: Vec<f32>,
    /// From the top, 0 to 1.
    pub y: Vec<f32>,
}

/// A list of a review that people decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// Possibly mislabelled images.
    Mislabelled,
    /// Near-duplicates.
    Duplicates,
    /// Images that are unlike the rest.
    Outliers,
}

impl List {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mislabelled => "mislabelled",
            Self::Duplicates => "duplicates",
            Self::Outliers => "outliers",
        }
    }
}

/// What a person says about an image in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The image is right as it is.
    Confirmed,
    /// It is not to be listed again.
    Dismissed,
    /// An earlier decision no longer counts.
    Undecided,
}

/// An image without a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnlabelledImage {
    /// Id.
    pub id: ImageId,
    /// Id of its dataset.
    pub dataset_id: DatasetId,
    /// Original file name.
    pub file_name: String,
    /// Media type of the file.
    pub media_type: String,
    /// Width in pixels after EXIF orientation.
    pub width: u32,
    /// Height in pixels after EXIF orientation.
    pub height: u32,
    /// File size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Upload time.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_of_earlier_versions_are_read() {
        let text = r#"{"labels": [60], "chosen": [0.7], "random": [0.6]}"#;
        let curve: LabellingCurve = serde_json::from_str(text).unwrap();
        assert_eq!(curve.tested, None);
    }
}
