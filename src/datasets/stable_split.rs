//! Reassigns all images of a dataset to splits: the stable split, applied afterwards.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Datasets, Error, blocking};
use crate::{
    domain::{
        ImageId, Name,
        dataset::{Counts, Sample, Split},
        gaps::Gaps,
        stable_split::stable_splits,
    },
    storage,
};

/// Result of reassigning the images of a dataset to splits.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SplitReport {
    /// Name of the dataset.
    pub dataset: Name,
    /// Number of images that changed splits; 0 if it was applied before.
    pub moved: u64,
    /// Image counts by split and class, zeros included.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, u64>>)]
    pub counts: Counts,
    /// Splits without images of a class; only classes with fewer than three images.
    pub missing: Vec<MissingImages>,
}

/// A split without images of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MissingImages {
    /// Split.
    pub split: Split,
    /// Class.
    pub label: String,
}

impl Datasets {
    /// Assigns each image of a dataset to its split by [`stable_splits`], in one transaction.
    /// Snapshots of jobs are not affected.
    ///
    /// # Errors
    /// There is no such dataset.
    pub async fn split(&self, dataset: &str) -> Result<SplitReport, Error> {
        let mut transaction = self.storage().write().await?;
        let row = storage::datasets::find(&mut transaction, dataset).await?;
        let row = row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))?;
        let samples = storage::images::samples(&mut transaction, row.id).await?;
        let moves = blocking(move || Ok(moves(&samples))).await?;
        let mut moved = 0;
        for (split, images) in moves {
            if !images.is_empty() {
                storage::images::move_to_split(&mut transaction, row.id, &images, split).await?;
                moved += images.len() as u64;
            }
        }
        if moved > 0 {
            storage::datasets::clear_version(&mut transaction, row.id).await?;
        }
        let (counts, ..) = storage::datasets::counts(&mut transaction, &row).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        tracing::info!(dataset.name = %row.name, moved, "images reassigned to splits");
        let gaps = Gaps::of(row.classes.names().iter().map(|name| {
            let of = |split| counts.get(&split).and_then(|of| of.get(name)).copied();
            (name.to_string(), Split::ALL.map(|split| of(split).unwrap_or(0)))
        }));
        let missing = gaps
            .iter()
            .map(|(split, label)| MissingImages { split, label: label.to_owned() })
            .collect();
        Ok(SplitReport { dataset: row.name, moved, counts, missing })
    }
}

/// The images that the stable split moves, by their new split.
fn moves(samples: &[Sample]) -> [(Split, Vec<ImageId>); 3] {
    let splits = stable_splits(samples);
    Split::ALL.map(|split| {
        let to_move = samples.iter().zip(&splits);
        let to_move = to_move.filter(|(sample, to)| **to == split && sample.split != split);
        (split, to_move.map(|(sample, _)| sample.image_id).collect())
    })
}
