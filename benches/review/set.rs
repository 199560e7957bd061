//! A dataset in a folder of its own, as a review reads it.

use std::{fs, path::Path};

use image::RgbImage;
use pawprint::{
    domain::{
        ImageId,
        dataset::{Digest, Split},
        review::Photo,
    },
    review::prepare::Source,
};
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::Result;

/// Images, their labels, and the folder with their bytes and records.
pub(crate) struct Set {
    pub(crate) photos: Vec<Photo>,
    pub(crate) classes: usize,
    folder: TempDir,
}

impl Set {
    /// A set without images.
    pub(crate) fn empty(classes: usize) -> Result<Self> {
        Ok(Self { photos: Vec::new(), classes, folder: tempfile::tempdir()? })
    }

    /// That of the files `<split>/<class>/…`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut set = Self::empty(0)?;
        let mut names: Vec<String> = Vec::new();
        for file in WalkDir::new(root).min_depth(3).sort_by_file_name() {
            let file = file?;
            let path = file.path().strip_prefix(root)?.to_owned();
            let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
            let [split, class, ..] = parts[..] else { continue };
            let label = names.iter().position(|name| name == class).unwrap_or_else(|| {
                names.push(class.to_owned());
                names.len() - 1
            });
            if set.add(&fs::read(file.path())?, Some(label))?
                && let Some(photo) = set.photos.last_mut()
            {
                photo.split = Some(split.parse::<Split>()?);
            }
        }
        set.classes = names.len();
        Ok(set)
    }

    /// Adds an image, unless it is there already.
    pub(crate) fn add(&mut self, bytes: &[u8], label: Option<usize>) -> Result<bool> {
        let sha256 = Digest::of(bytes);
        let name = sha256.to_string();
        let path = self.source().blobs.join(&name[..2]).join(&name);
        if path.exists() {
            return Ok(false);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, bytes)?;
        let (width, height) = image::ImageReader::new(std::io::Cursor::new(bytes))
            .with_guessed_format()?
            .into_dimensions()?;
        let split = label.map(|_| Split::Train);
        let shorter_side = width.min(height);
        self.photos.push(Photo { image_id: ImageId::new(), sha256, label, split, shorter_side });
        Ok(true)
    }

    /// A copy, with the records that were computed.
    pub(crate) fn share(&self) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for file in WalkDir::new(self.folder.path()).min_depth(1) {
            let file = file?;
            let target = folder.path().join(file.path().strip_prefix(self.folder.path())?);
            if file.file_type().is_dir() {
                fs::create_dir(target)?;
            } else if file.path().parent().is_some_and(|it| it.ends_with("cache")) {
                fs::copy(file.path(), target)?;
            } else {
                fs::hard_link(file.path(), target)?;
            }
        }
        Ok(Self { photos: self.photos.clone(), classes: self.classes, folder })
    }

    /// Removes the records of its images.
    pub(crate) fn forget_records(&self) -> Result<()> {
        match fs::remove_dir_all(self.source().cache) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Where it is.
    pub(crate) fn source(&self) -> Source {
        let folder = self.folder.path();
        Source {
            blobs: folder.join("blobs"),
            cache: folder.join("cache"),
            max_image_pixels: 1 << 27,
            threads: 2,
        }
    }

    /// Some of its images.
    pub(crate) fn sample(&self, count: usize, seed: u64) -> Vec<Photo> {
        let mut photos = self.photos.clone();
        photos.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        photos.truncate(count);
        photos
    }

    /// The bytes of an image.
    pub(crate) fn bytes(&self, photo: &Photo) -> Result<Vec<u8>> {
        Ok(pawprint::blobs::read(&self.source().blobs, &photo.sha256)?)
    }

    /// Its pixels.
    pub(crate) fn decode(&self, photo: &Photo) -> Result<RgbImage> {
        Ok(image::load_from_memory(&self.bytes(photo)?)?.to_rgb8())
    }
}
