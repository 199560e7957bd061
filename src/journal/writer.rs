//! Writes queued predictions: photos first, then one transaction with the rows of many.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::MutexGuard;

use super::{Error, Inner, Journal, Kept, queue::Entry};
use crate::{
    blobs::{self, Blobs},
    domain::{ModelId, dataset::Digest},
    error_chain::chain,
    storage::{
        self,
        predictions::{self, NewModel, Photo},
    },
};

/// Predictions that are written in one transaction.
const BATCH: usize = 500;
/// Predictions beyond the limit that are deleted with them: more than are written, so that a limit that was
/// lowered is reached.
const DELETED: u32 = 1000;
/// Photos that are deleted in one transaction, at most.
const PHOTO_BATCH: u32 = 100;
/// Between two deletions: SQLite's lock is not fair, and others need a gap to find.
pub(super) const GAP: Duration = Duration::from_millis(20);

impl Journal {
    /// Writes everything that is queued.
    ///
    /// # Errors
    /// The database failed; what could not be written stays in the queue.
    pub async fn flush(&self) -> Result<(), Error> {
        if self.counts().queued == 0 {
            // What is being written now is waited for.
            drop(self.0.writing.lock().await);
            // Unless that failed.
            if self.counts().queued == 0 {
                return Ok(());
            }
        }
        let journal = self.clone();
        // In a task: a request whose client leaves must not take a batch with it.
        tokio::spawn(async move { journal.write_all().await }).await?
    }

    /// As [`Self::flush`], for reading what can be read.
    pub(super) async fn flush_quietly(&self) {
        if let Err(error) = self.flush().await {
            tracing::debug!(error = chain(&error), "reading without the queued predictions");
        }
    }

    async fn write_all(&self) -> Result<(), Error> {
        let mut kept = self.0.writing.lock().await;
        // Only what is there now: under load there is always more, and readers wait for this.
        let mut left = usize::try_from(self.counts().queued).unwrap_or(usize::MAX);
        loop {
            let batch = self.0.queue.take(BATCH.min(left));
            if batch.is_empty() {
                return Ok(());
            }
            left -= batch.len();
            let written = batch.len() as u64;
            if let Err(error) = self.0.write(&mut kept, &batch).await {
                self.0.queue.put_back(batch);
                return Err(error.into());
            }
            self.0.queue.written.fetch_add(written, Relaxed);
        }
    }
}

/// What became of the photos of a batch.
#[derive(Debug, Default)]
struct Stored {
    /// Those that are on disk, with their sizes.
    photos: HashMap<Digest, i64>,
    /// How many are not.
    missing: u64,
    /// Why, of one of them, if the disk refused.
    error: Option<blobs::Error>,
}

impl Inner {
    async fn write(
        &self,
        kept: &mut MutexGuard<'_, Kept>,
        batch: &[Entry],
    ) -> Result<(), storage::Error> {
        let stored = self.store_photos(kept, batch).await?;
        let mut transaction = self.storage.write().await?;
        let mut models: HashMap<ModelId, i64> = HashMap::new();
        let mut added = 0;
        for entry in batch {
            let card = entry.engine.card();
            let model = match models.get(&card.id) {
                Some(model) => *model,
                None => {
                    let new = NewModel {
                        id: card.id,
                        name: &card.name,
                        classes: &card.classes,
                        baseline: card.baseline(),
                    };
                    let number = predictions::put_model(&mut transaction, &new).await?;
                    models.insert(card.id, number);
                    number
                }
            };
            let number = predictions::insert(&mut transaction, model, &entry.prediction).await?;
            let sha256 = entry.prediction.sha256;
            if let Some(bytes) = stored.photos.get(&sha256).copied() {
                if !predictions::has_photo(&mut transaction, &sha256).await? {
                    added += bytes.cast_unsigned();
                }
                predictions::put_photo(&mut transaction, Photo { sha256, bytes }, number).await?;
            }
        }
        let max = self.config.prediction_log_max;
        let deleted = predictions::delete_oldest(&mut transaction, max, DELETED).await?;
        let unused = match deleted.is_empty() {
            true => Vec::new(),
            false => predictions::delete_unused_photos(&mut transaction, &deleted).await?,
        };
        transaction.commit().await?;
        if let Some(bytes) = &mut kept.bytes {
            *bytes += added;
        }
        self.remove_photos(kept, unused).await;
        // Only now: a batch whose rows could not be written is written again.
        self.queue.photos_dropped.fetch_add(stored.missing, Relaxed);
        if let Some(error) = stored.error {
            let missing = stored.missing;
            tracing::warn!(error = chain(&error), missing, "can't keep images of predictions");
        }
        Ok(())
    }

    /// Writes the photos of a batch, after making room for them. One that can't be written is left out.
    async fn store_photos(
        &self,
        kept: &mut MutexGuard<'_, Kept>,
        batch: &[Entry],
    ) -> Result<Stored, storage::Error> {
        let limit = self.config.prediction_log_photo_bytes;
        let (mut seen, mut photos, mut incoming) = (HashSet::new(), Vec::new(), 0);
        let mut stored = Stored::default();
        for entry in batch {
            let Some(photo) = &entry.photo else { continue };
            let sha256 = entry.prediction.sha256;
            if !seen.insert(sha256) {
                continue;
            }
            if incoming + photo.len() as u64 > limit {
                stored.missing += 1;
                continue;
            }
            incoming += photo.len() as u64;
            photos.push((sha256, photo.clone()));
        }
        if photos.is_empty() {
            return Ok(stored);
        }
        self.make_room(kept, incoming).await?;
        let (blobs, wanted) = (self.photos.clone(), photos.len() as u64);
        let written = tokio::task::spawn_blocking(move || {
            for (sha256, photo) in &photos {
                match store(&blobs, sha256, photo) {
                    Ok(()) => {
                        let bytes = i64::try_from(photo.len()).unwrap_or(i64::MAX);
                        stored.photos.insert(*sha256, bytes);
                    }
                    Err(error) => {
                        stored.missing += 1;
                        stored.error = Some(error);
                    }
                }
            }
            stored
        });
        Ok(written.await.unwrap_or_else(|_| Stored { missing: wanted, ..Stored::default() }))
    }

    /// Deletes the oldest photos until `incoming` bytes fit within the limit. What was beyond a limit that was
    /// lowered is left to [`Journal::retain`]: whoever reads the log waits for this.
    async fn make_room(
        &self,
        kept: &mut MutexGuard<'_, Kept>,
        incoming: u64,
    ) -> Result<(), storage::Error> {
        let limit = self.config.prediction_log_photo_bytes;
        let left = self.photo_bytes(kept).await?.max(limit) - incoming;
        while self.delete_photos(kept, left).await? {
            tokio::time::sleep(GAP).await;
        }
        Ok(())
    }

    /// Deletes the oldest photos, a few at most, until all others have at most `limit` bytes; returns whether
    /// they have more.
    pub(super) async fn delete_photos(
        &self,
        kept: &mut MutexGuard<'_, Kept>,
        limit: u64,
    ) -> Result<bool, storage::Error> {
        let excess = self.photo_bytes(kept).await?.saturating_sub(limit);
        if excess == 0 {
            return Ok(false);
        }
        let mut transaction = self.storage.write().await?;
        let oldest =
            predictions::delete_oldest_photos(&mut transaction, excess, PHOTO_BATCH).await?;
        transaction.commit().await?;
        if oldest.is_empty() {
            // They were deleted behind our back.
            kept.bytes = Some(0);
            return Ok(false);
        }
        self.remove_photos(kept, oldest).await;
        Ok(kept.bytes.is_some_and(|bytes| bytes > limit))
    }

    /// The bytes of all photos.
    async fn photo_bytes(&self, kept: &mut MutexGuard<'_, Kept>) -> Result<u64, storage::Error> {
        if let Some(bytes) = kept.bytes {
            return Ok(bytes);
        }
        let mut connection = self.storage.read().await?;
        let photos = predictions::photos(&mut connection).await?;
        let bytes: u64 = photos.iter().map(|photo| photo.bytes.cast_unsigned()).sum();
        kept.bytes = Some(bytes);
        Ok(bytes)
    }

    /// Removes the files of photos that have no row any more.
    pub(super) async fn remove_photos(&self, kept: &mut MutexGuard<'_, Kept>, photos: Vec<Photo>) {
        if photos.is_empty() {
            return;
        }
        let bytes: u64 = photos.iter().map(|photo| photo.bytes.cast_unsigned()).sum();
        if let Some(total) = &mut kept.bytes {
            *total = total.saturating_sub(bytes);
        }
        let blobs = self.photos.clone();
        let removed = tokio::task::spawn_blocking(move || {
            photos.iter().try_for_each(|photo| blobs.remove(&photo.sha256))
        });
        if let Ok(Err(error)) = removed.await {
            // Housekeeping tries again.
            tracing::warn!(error = chain(&error), "can't remove images of deleted predictions");
        }
    }
}

/// Writes a photo under its name, unless it is there. It is not synced: it would be lost in a power cut, and
/// nothing was promised.
fn store(blobs: &Blobs, sha256: &Digest, photo: &Bytes) -> Result<(), blobs::Error> {
    let path = blobs.path(sha256);
    if fs::metadata(&path).is_ok_and(|it| it.len() == photo.len() as u64) {
        return Ok(());
    }
    let failed = |source: io::Error| blobs::Error::Disk { path: path.clone(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = blobs.write_temporary(photo)?;
    file.persist(&path).map_err(|error| failed(error.error))
}
