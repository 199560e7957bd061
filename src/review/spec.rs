//! The folder of a review before it runs: what to review, and the images.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::prepare::Source;
use crate::{
    domain::{ClassName, DatasetId, review::Photo},
    weights::files,
};

/// File of the spec.
pub const SPEC: &str = "spec.json";
/// File of the images, a line each.
pub const MANIFEST: &str = "manifest.jsonl";
/// File of the result.
pub const RESULT: &str = "result.json";

/// What to review: `spec.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The dataset.
    pub dataset_id: DatasetId,
    /// Its revision.
    pub revision: i64,
    /// Its classes.
    pub classes: Vec<ClassName>,
    /// Threads to compute with.
    pub threads: usize,
    /// Maximum image size, in pixels.
    pub max_image_pixels: u64,
    /// Folder of the encoded images.
    pub blobs: PathBuf,
    /// Folder of the features.
    pub cache: PathBuf,
}

impl Spec {
    /// Writes the folder of a review.
    ///
    /// # Errors
    /// The file system failed.
    pub fn create(&self, folder: &Path, photos: &[Photo]) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut manifest = BufWriter::new(File::create(folder.join(MANIFEST))?);
        for photo in photos {
            serde_json::to_writer(&mut manifest, photo)?;
            manifest.write_all(b"\n")?;
        }
        manifest.flush()?;
        files::write(&folder.join(SPEC), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads the folder of a review.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn load(folder: &Path) -> io::Result<(Self, Vec<Photo>)> {
        let spec = serde_json::from_slice(&fs::read(folder.join(SPEC))?)?;
        let lines = BufReader::new(File::open(folder.join(MANIFEST))?).lines();
        let photos = lines.map(|line| Ok(serde_json::from_str(&line?)?));
        Ok((spec, photos.collect::<io::Result<_>>()?))
    }

    /// Where the images are.
    #[must_use]
    pub fn source(&self) -> Source {
        Source {
            blobs: self.blobs.clone(),
            cache: self.cache.clone(),
            max_image_pixels: self.max_image_pixels,
            threads: self.threads,
        }
    }
}
