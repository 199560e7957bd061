//! An image as the lists of a review show it.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::SqliteConnection;
use utoipa::ToSchema;

use super::Error;
use crate::{
    domain::{
        ClassName, DatasetId, ImageId,
        dataset::{Digest, Image, Split},
        review::{List, UnlabelledImage},
    },
    storage::{images, reviews, unlabelled},
};

/// An image in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ViewedImage {
    /// Id.
    pub id: ImageId,
    /// Original file name.
    pub file_name: String,
    /// Class; null if it is unlabelled.
    pub label: Option<ClassName>,
    /// Split; null if it is unlabelled.
    pub split: Option<Split>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    #[serde(skip)]
    pub(super) sha256: Digest,
    /// Whether a person has decided on it in the list.
    #[serde(skip)]
    pub(super) decided: bool,
    /// The split that it was in then, if that is known.
    #[serde(skip)]
    pub(super) split_then: Option<Split>,
}

impl From<Image> for ViewedImage {
    fn from(image: Image) -> Self {
        Self {
            id: image.id,
            file_name: image.file_name,
            label: Some(image.label),
            split: Some(image.split),
            width: image.width,
            height: image.height,
            sha256: image.sha256,
            decided: false,
            split_then: None,
        }
    }
}

impl From<UnlabelledImage> for ViewedImage {
    fn from(image: UnlabelledImage) -> Self {
        Self {
            id: image.id,
            file_name: image.file_name,
            label: None,
            split: None,
            width: image.width,
            height: image.height,
            sha256: image.sha256,
            decided: false,
            split_then: None,
        }
    }
}

/// Images by their ids.
pub(super) type Found = HashMap<ImageId, ViewedImage>;

/// The images with these ids that are still there, and whether they were decided on in `list`.
pub(super) async fn viewed(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    list: Option<List>,
    ids: &[ImageId],
) -> Result<Found, Error> {
    let labelled = images::of_ids(connection, ids).await?;
    let unlabelled = unlabelled::of_ids(connection, ids).await?;
    let mut found: Vec<ViewedImage> = (labelled.into_iter().map(ViewedImage::from))
        .chain(unlabelled.into_iter().map(ViewedImage::from))
        .collect();
    if let Some(list) = list {
        let hashes: Vec<Digest> = found.iter().map(|image| image.sha256).collect();
        let decided = reviews::decided(connection, dataset, list, &hashes).await?;
        for image in &mut found {
            let Some(then) = decided.get(&image.sha256) else { continue };
            image.decided = then.label == image.label;
            image.split_then = then.split;
        }
    }
    Ok(found.into_iter().map(|image| (image.id, image)).collect())
}
