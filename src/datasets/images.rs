//! Single images: show, move, relabel and delete them.

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;

use super::{Datasets, Error, blocking, class, classes::find_or_add};
use crate::{
    domain::{
        ImageId,
        dataset::{Digest, Image, Split},
    },
    storage::{self, Page},
    vision,
};

/// JPEG quality of thumbnails.
const QUALITY: u8 = 85;

/// The file of an image.
#[derive(Debug, Clone)]
pub struct ImageFile {
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Its media type.
    pub media_type: String,
}

impl Datasets {
    /// Images of a dataset, oldest first, optionally of one split or class.
    ///
    /// # Errors
    /// There is no such dataset, or no such class in it.
    pub async fn images(
        &self,
        dataset: &str,
        split: Option<Split>,
        label: Option<&str>,
        after: Option<ImageId>,
        limit: u32,
    ) -> Result<Page<Image>, Error> {
        // Labels are indices of the classes at one moment.
        let mut snapshot = self.storage().snapshot().await?;
        let row = storage::datasets::find(&mut snapshot, dataset).await?;
        let row = row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))?;
        let label = label.map(|label| class(&row.classes, label)).transpose()?;
        Ok(storage::image_pages::page(&mut snapshot, row.id, split, label, after, limit).await?)
    }

    /// The file of the image of that id, with a label or without.
    ///
    /// # Errors
    /// There is none.
    pub async fn file(&self, id: ImageId) -> Result<ImageFile, Error> {
        let mut connection = self.storage().read().await?;
        if let Some(image) = storage::images::find(&mut connection, id).await? {
            return Ok(ImageFile { sha256: image.sha256, media_type: image.media_type });
        }
        let unlabelled = storage::unlabelled::of_ids(&mut connection, &[id]).await?.pop();
        let image = unlabelled.ok_or(Error::NoImage(id))?;
        Ok(ImageFile { sha256: image.sha256, media_type: image.media_type })
    }

    /// The hash of one training image: of that number, in the order of the hashes, beginning again after
    /// the last one. `None` if there are no training images.
    ///
    /// # Errors
    /// There is no such dataset.
    pub async fn training_image(
        &self,
        dataset: &str,
        number: u64,
    ) -> Result<Option<Digest>, Error> {
        let mut snapshot = self.storage().snapshot().await?;
        let row = storage::datasets::find(&mut snapshot, dataset).await?;
        let row = row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))?;
        Ok(storage::image_pages::training_image(&mut snapshot, row.id, number).await?)
    }

    /// Changes the class or split of an image. In an open dataset, a new class is added. An
    /// unlabelled image gets its class, and the split that its content gives it.
    ///
    /// # Errors
    /// There is no such dataset or image, or no such class in a closed dataset.
    pub async fn update_image(
        &self,
        dataset: &str,
        id: ImageId,
        label: Option<&str>,
        split: Option<Split>,
    ) -> Result<Image, Error> {
        let mut transaction = self.storage().write().await?;
        let row = storage::datasets::find(&mut transaction, dataset).await?;
        let row = row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))?;
        let label = match label {
            Some(label) => Some(find_or_add(&mut transaction, &row, label).await?),
            None => None,
        };
        if !storage::images::update(&mut transaction, row.id, id, label, split).await? {
            let unlabelled = storage::unlabelled::of_ids(&mut transaction, &[id]).await?.pop();
            let image = unlabelled.ok_or(Error::NoImage(id))?;
            let label = label.ok_or(Error::Unlabelled)?;
            let split = split.unwrap_or_else(|| Split::by_content(&image.sha256));
            if !storage::unlabelled::label(&mut transaction, row.id, id, label, split).await? {
                return Err(Error::NoImage(id));
            }
        }
        storage::datasets::clear_version(&mut transaction, row.id).await?;
        let image = storage::images::find(&mut transaction, id).await?.ok_or(Error::NoImage(id))?;
        transaction.commit().await.map_err(storage::Error::from)?;
        Ok(image)
    }

    /// Removes an image from a dataset. The next sweep removes its file.
    ///
    /// # Errors
    /// There is no such dataset or image.
    pub async fn delete_image(&self, dataset: &str, id: ImageId) -> Result<(), Error> {
        let dataset = self.row(dataset).await?.id;
        let mut transaction = self.storage().write().await?;
        if !storage::images::delete(&mut transaction, dataset, id).await?
            && !storage::unlabelled::delete(&mut transaction, dataset, id).await?
        {
            return Err(Error::NoImage(id));
        }
        storage::datasets::clear_version(&mut transaction, dataset).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        Ok(())
    }

    /// The bytes of an image as they were uploaded.
    ///
    /// # Errors
    /// They are damaged.
    pub async fn original(&self, image: &ImageFile) -> Result<Bytes, Error> {
        let (blobs, digest) = (self.blobs().clone(), image.sha256);
        blocking(move || Ok(blobs.map(&digest)?)).await
    }

    /// A JPEG of an image within a square of `size` pixels with its aspect ratio kept; never larger
    /// than the image itself.
    ///
    /// # Errors
    /// The image's bytes are damaged.
    pub async fn thumbnail(&self, image: &ImageFile, size: u32) -> Result<Vec<u8>, Error> {
        let _permit = self.0.thumbnails.acquire().await.map_err(|_| Error::ShuttingDown)?;
        let (datasets, digest) = (self.clone(), image.sha256);
        blocking(move || {
            let bytes = datasets.blobs().read(&digest)?;
            // A limit that was lowered later must not hide existing images.
            let max_pixels = datasets.limits().image.max_pixels.max(1 << 26);
            let limits = vision::Limits { max_pixels };
            let memory = vision::decoding_memory(&bytes, &limits, None).map_err(Error::Decode)?;
            let _memory = datasets.memory().wait_for_image(memory)?;
            let picture = vision::decode(&bytes, &limits).map_err(Error::Decode)?;
            let (width, height) = fit_within(picture.width(), picture.height(), size);
            let small = vision::resize(&picture, width, height).map_err(Error::Resize)?;
            let mut jpeg = Vec::new();
            JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
                .encode_image(&small)
                .map_err(Error::Encode)?;
            Ok(jpeg)
        })
        .await
    }
}

/// The largest size of that aspect ratio within a square.
fn fit_within(width: u32, height: u32, size: u32) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= size {
        return (width, height);
    }
    let scale = |side: u32| {
        let scaled =
            (u64::from(side) * u64::from(size) + u64::from(longest) / 2) / u64::from(longest);
        u32::try_from(scaled).unwrap_or(size).max(1)
    };
    (scale(width), scale(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_keeps_the_aspect_and_never_grows() {
        assert_eq!(fit_within(640, 480, 160), (160, 120));
        assert_eq!(fit_within(480, 640, 160), (120, 160));
        assert_eq!(fit_within(100, 50, 160), (100, 50));
        assert_eq!(fit_within(10_000, 1, 160), (160, 1));
    }
}
