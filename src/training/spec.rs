//! The job folder before training: spec and manifest.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::failure::{Failure, StopReason};
use crate::domain::{
    JobId, ModelId, Name,
    dataset::{Classes, Digest, Sample, Split, version_of},
    parameters::Params,
    recipe::Recipe,
};

/// What to train: `spec.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The job.
    pub job_id: JobId,
    /// The id that its model will have.
    pub model_id: ModelId,
    /// The name that its model will have.
    pub name: Name,
    /// Training recipe.
    pub recipe: Recipe,
    /// Training parameters.
    pub params: Params,
    /// Name of the dataset.
    pub dataset: Name,
    /// Version of the dataset; the manifest must match it.
    pub dataset_version: Digest,
    /// Whether the names of the classes count in that version.
    #[serde(default)]
    pub named_version: bool,
    /// The dataset's classes.
    pub classes: Classes,
    /// Threads to compute with. Fixed with the job: another number sums in another order.
    pub threads: usize,
    /// Maximum image size, in pixels.
    pub max_image_pixels: u64,
    /// Folder of the encoded images.
    pub blobs: PathBuf,
    /// Folder of the decoded images.
    pub cache: PathBuf,
}

/// A job as the trainer sees it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its folder.
    pub folder: PathBuf,
    /// What to train.
    pub spec: Spec,
    /// The images of the snapshot, in the order of their hashes.
    pub samples: Vec<Sample>,
}

/// File of the model with the job's initial head, in its folder.
pub const HEAD: &str = "head.safetensors";

/// File of the spec, in the job's folder.
pub const SPEC: &str = "spec.json";
/// File of the frozen images, in the job's folder.
pub const MANIFEST: &str = "manifest.jsonl";

impl Spec {
    /// Reads the spec of the job in `folder`.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn load(folder: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(folder.join(SPEC))?)?)
    }

    /// The version of a dataset with these samples and the classes of the spec.
    #[must_use]
    pub fn version_of(&self, samples: &[Sample]) -> Digest {
        version_of(samples, self.named_version.then_some(&self.classes))
    }

    /// Points the spec of the job in `folder` to the images and the cache of the data directory
    /// that the job lies in now: that may have been moved, or restored elsewhere.
    ///
    /// # Errors
    /// The spec is missing or damaged, or can't be written.
    pub fn relocate(folder: &Path, blobs: PathBuf, cache: PathBuf) -> io::Result<()> {
        let spec = Self::load(folder)?;
        if spec.blobs == blobs && spec.cache == cache {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&Self { blobs, cache, ..spec })?;
        crate::weights::files::write(&folder.join(SPEC), &text)
    }
}

impl Job {
    /// Writes the folder of a new job.
    ///
    /// # Errors
    /// The file system failed.
    pub fn create(folder: &Path, spec: &Spec, samples: &[Sample]) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut manifest = BufWriter::new(File::create(folder.join(MANIFEST))?);
        for sample in samples {
            serde_json::to_writer(&mut manifest, sample)?;
            manifest.write_all(b"\n")?;
        }
        manifest.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let mut file = File::create(folder.join(SPEC))?;
        serde_json::to_writer_pretty(&mut file, spec)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }

    /// Reads the folder of a job and checks that its manifest is the version the spec names.
    ///
    /// # Errors
    /// `bad_job` if the folder can't be read, `bad_dataset` if the manifest was changed.
    pub fn load(folder: &Path) -> Result<Self, StopReason> {
        let bad = |what: &str, error: &dyn std::fmt::Display| {
            Failure::new("bad_job", format!("can't read the job's {what}: {error}"))
        };
        let spec = Spec::load(folder).map_err(|error| bad(SPEC, &error))?;
        let samples = read_manifest(folder).map_err(|error| bad(MANIFEST, &error))?;
        if spec.version_of(&samples) != spec.dataset_version {
            return Err(Failure::new(
                "bad_dataset",
                "the job's manifest does not match its dataset version; start a new job",
            )
            .into());
        }
        Ok(Self { folder: folder.to_owned(), spec, samples })
    }

    /// The samples of one split, in the order of their hashes.
    #[must_use]
    pub fn split(&self, split: Split) -> Vec<Sample> {
        self.samples.iter().filter(|sample| sample.split == split).copied().collect()
    }
}

/// The samples in the snapshot of the job in `folder`.
///
/// # Errors
/// The manifest is missing or damaged.
pub fn read_manifest(folder: &Path) -> io::Result<Vec<Sample>> {
    let lines = BufReader::new(File::open(folder.join(MANIFEST))?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}
