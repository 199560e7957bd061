//! Rows of images.

use std::collections::HashSet;

use sqlx::{SqliteConnection, types::Json};

use super::{Error, Result, has_table, types::Time};
use crate::domain::{
    ClassName, DatasetId, ImageId, Timestamp,
    dataset::{Digest, Image, Sample, Split},
};

/// An image to add to a dataset.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// File name.
    pub file_name: String,
    /// Index of its class.
    pub label: usize,
    /// Its split.
    pub split: Split,
    /// Media type of the file.
    pub media_type: &'static str,
    /// Width in pixels after EXIF orientation.
    pub width: u32,
    /// Height in pixels after EXIF orientation.
    pub height: u32,
    /// File size in bytes.
    pub bytes: u64,
    /// Its difference hash.
    pub fingerprint: u64,
}

/// The result of adding an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It was added.
    New,
    /// It is already in the dataset, with that class.
    Known {
        /// Index of the class.
        label: usize,
    },
    /// The dataset was deleted.
    NoDataset,
}

/// Adds an image, unless it is already in the dataset.
///
/// # Errors
/// The database failed.
pub async fn insert(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    image: &NewImage,
) -> Result<Inserted> {
    let (id, created_at) = (ImageId::new(), Time(Timestamp::now()));
    let label = i64::try_from(image.label).unwrap_or(i64::MAX);
    let bytes = i64::try_from(image.bytes).unwrap_or(i64::MAX);
    let fingerprint = image.fingerprint.cast_signed();
    let inserted = sqlx::query!(
        "INSERT INTO images (id, dataset_id, sha256, file_name, label, split, media_type,
                             width, height, bytes, fingerprint, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (dataset_id, sha256) DO NOTHING",
        id,
        dataset,
        image.sha256,
        image.file_name,
        label,
        image.split,
        image.media_type,
        image.width,
        image.height,
        bytes,
        fingerprint,
        created_at
    )
    .execute(&mut *connection)
    .await;
    match inserted {
        Ok(done) if done.rows_affected() > 0 => {
            // It had no label before.
            sqlx::query!(
                "DELETE FROM unlabelled_images WHERE dataset_id = ? AND sha256 = ?",
                dataset,
                image.sha256
            )
            .execute(connection)
            .await?;
            return Ok(Inserted::New);
        }
        Ok(_) => {}
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            return Ok(Inserted::NoDataset);
        }
        Err(error) => return Err(error.into()),
    }
    let label = label_of(connection, dataset, &image.sha256).await?;
    Ok(label.map_or(Inserted::NoDataset, |label| Inserted::Known { label }))
}

/// The index of the class of the image with that hash; `None` if the dataset has no such image.
///
/// # Errors
/// The database failed.
pub async fn label_of(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    digest: &Digest,
) -> Result<Option<usize>> {
    let label = sqlx::query_scalar!(
        r#"SELECT label AS "label: u32" FROM images WHERE dataset_id = ? AND sha256 = ?"#,
        dataset,
        digest
    )
    .fetch_optional(connection)
    .await?;
    Ok(label.map(|label| label as usize))
}

/// Number of images of a class.
///
/// # Errors
/// The database failed.
pub async fn count(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    label: usize,
) -> Result<u64> {
    let label = i64::try_from(label).unwrap_or(i64::MAX);
    let images = sqlx::query_scalar!(
        "SELECT COUNT(*) FROM images WHERE dataset_id = ? AND label = ?",
        dataset,
        label
    )
    .fetch_one(connection)
    .await?;
    Ok(images.cast_unsigned())
}

struct Raw {
    id: ImageId,
    dataset_id: DatasetId,
    file_name: String,
    label: Option<ClassName>,
    split: Split,
    media_type: String,
    width: u32,
    height: u32,
    bytes: i64,
    sha256: Digest,
    created_at: Time,
}

impl TryFrom<Raw> for Image {
    type Error = Error;

    fn try_from(raw: Raw) -> Result<Self> {
        Ok(Self {
            id: raw.id,
            dataset_id: raw.dataset_id,
            file_name: raw.file_name,
            label: raw.label.ok_or_else(|| Error::Damaged("a label without a class".to_owned()))?,
            split: raw.split,
            media_type: raw.media_type,
            width: raw.width,
            height: raw.height,
            bytes: u64::try_from(raw.bytes).unwrap_or(0),
            sha256: raw.sha256,
            created_at: raw.created_at.0,
        })
    }
}

/// Those of the images that still exist, oldest first.
///
/// # Errors
/// The database failed.
pub async fn of_ids(connection: &mut SqliteConnection, ids: &[ImageId]) -> Result<Vec<Image>> {
    let ids = Json(ids);
    let rows = sqlx::query_as!(
        Raw,
        r#"SELECT images.id AS "id: _", dataset_id AS "dataset_id: _", file_name,
                  classes ->> ('$[' || label || ']') AS "label?: ClassName", split AS "split: _", media_type,
                  width AS "width: _", height AS "height: _", bytes, sha256 AS "sha256: _",
                  images.created_at AS "created_at: Time"
           FROM images JOIN datasets ON datasets.id = dataset_id
           WHERE images.id IN (SELECT value FROM json_each(?))
           ORDER BY images.id"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Image::try_from).collect()
}

/// The image of that id.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut SqliteConnection, id: ImageId) -> Result<Option<Image>> {
    Ok(of_ids(connection, &[id]).await?.pop())
}

/// Changes the class or split of an image; returns whether there is one.
///
/// # Errors
/// The database failed.
pub async fn update(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    id: ImageId,
    label: Option<usize>,
    split: Option<Split>,
) -> Result<bool> {
    let label = label.map(|label| i64::try_from(label).unwrap_or(i64::MAX));
    let done = sqlx::query!(
        "UPDATE images SET label = COALESCE(?, label), split = COALESCE(?, split)
         WHERE dataset_id = ? AND id = ?",
        label,
        split,
        dataset,
        id
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Moves images of a dataset to a split.
///
/// # Errors
/// The database failed.
pub async fn move_to_split(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    images: &[ImageId],
    split: Split,
) -> Result<()> {
    let images = Json(images);
    sqlx::query!(
        "UPDATE images SET split = ?
         WHERE dataset_id = ? AND id IN (SELECT value FROM json_each(?))",
        split,
        dataset,
        images
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes an image from a dataset; returns whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    id: ImageId,
) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM images WHERE dataset_id = ? AND id = ?", dataset, id)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// All images of a dataset for a job's snapshot, in the order of their hashes.
///
/// # Errors
/// The database failed.
pub async fn samples(connection: &mut SqliteConnection, dataset: DatasetId) -> Result<Vec<Sample>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "image_id: ImageId", sha256 AS "sha256: Digest", label AS "label: u32",
                  split AS "split: Split"
           FROM images WHERE dataset_id = ? ORDER BY sha256"#,
        dataset
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Sample {
            image_id: row.image_id,
            sha256: row.sha256,
            label: row.label as usize,
            split: row.split,
        })
        .collect())
}

/// The hashes of all images of all datasets, with a label or without.
///
/// # Errors
/// The database failed.
pub async fn digests(connection: &mut SqliteConnection) -> Result<HashSet<Digest>> {
    let labelled = sqlx::query_scalar!(r#"SELECT DISTINCT sha256 AS "sha256: Digest" FROM images"#);
    let mut digests: HashSet<_> = labelled.fetch_all(&mut *connection).await?.into_iter().collect();
    // A backup may be of a database that no server of this version has opened.
    if has_table(connection, "unlabelled_images").await? {
        let unlabelled = sqlx::query_scalar!(
            r#"SELECT DISTINCT sha256 AS "sha256: Digest" FROM unlabelled_images"#
        );
        digests.extend(unlabelled.fetch_all(connection).await?);
    }
    Ok(digests)
}

/// Whether an image of any dataset has that hash, with a label or without.
///
/// # Errors
/// The database failed.
pub async fn is_used(connection: &mut SqliteConnection, digest: &Digest) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM images WHERE sha256 = ?1)
                  OR EXISTS (SELECT 1 FROM unlabelled_images WHERE sha256 = ?1) AS "used!: bool""#,
        digest
    )
    .fetch_one(connection)
    .await?)
}
