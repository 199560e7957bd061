//! The snapshot of a dataset's images for a job, taken when the job is created.

use super::{Datasets, Error};
use crate::{
    domain::{
        DatasetId, Name,
        dataset::{Classes, Digest, Sample, version_of},
    },
    storage,
};

/// All images of a dataset at one moment.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The dataset.
    pub dataset_id: DatasetId,
    /// Its name.
    pub dataset: Name,
    /// Its classes.
    pub classes: Classes,
    /// The version of these samples.
    pub version: Digest,
    /// Whether the names of the classes count in it.
    pub named_version: bool,
    /// Its images, in the order of their hashes.
    pub samples: Vec<Sample>,
}

impl Datasets {
    /// The images of the dataset of that id or name, and their version.
    ///
    /// # Errors
    /// There is none.
    pub async fn manifest(&self, dataset: &str) -> Result<Manifest, Error> {
        // Labels are indices of the classes at one moment.
        let mut snapshot = self.storage().snapshot().await?;
        let row = storage::datasets::find(&mut snapshot, dataset).await?;
        let row = row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))?;
        let samples = storage::images::samples(&mut snapshot, row.id).await?;
        drop(snapshot);
        let version = version_of(&samples, row.names());
        Ok(Manifest {
            named_version: row.named_version,
            dataset_id: row.id,
            dataset: row.name,
            classes: row.classes,
            version,
            samples,
        })
    }

    /// The images of a dataset, in the order of their hashes.
    ///
    /// # Errors
    /// The database failed.
    pub async fn samples(&self, dataset: DatasetId) -> Result<Vec<Sample>, Error> {
        let mut connection = self.storage().read().await?;
        Ok(storage::images::samples(&mut connection, dataset).await?)
    }
}
