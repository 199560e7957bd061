//! Deletes predictions: those that are older or more than the settings allow, and those that somebody wants
//! gone. Always a few at a time, so that nobody waits long for the database.

use std::collections::HashSet;

use super::{Error, Journal, writer::GAP};
use crate::{
    domain::{PredictionId, Timestamp, dataset::Digest},
    storage::{self, predictions},
};

/// Predictions that are deleted in one transaction.
const BATCH: u32 = 500;

/// Which predictions are deleted.
#[derive(Debug, Clone, Copy)]
enum Which {
    One(PredictionId),
    Before(Timestamp),
    Beyond(u64),
}

impl Journal {
    /// Deletes what is older or more than the settings allow.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retain(&self) -> Result<(), Error> {
        let config = &self.0.config;
        let oldest = Timestamp::now().checked_sub(config.age()).unwrap_or(Timestamp::MIN);
        // Without anything to delete, nothing is written: the disk may be read-only, and the log off.
        if self.has_surplus(oldest).await? {
            self.delete_all(Which::Before(oldest)).await?;
            self.delete_all(Which::Beyond(config.prediction_log_max)).await?;
            let mut transaction = self.0.storage.write().await?;
            predictions::delete_unused_models(&mut transaction).await?;
            transaction.commit().await.map_err(storage::Error::from)?;
        }
        while self.delete_some_photos().await? {
            tokio::time::sleep(GAP).await;
        }
        Ok(())
    }

    async fn has_surplus(&self, oldest: Timestamp) -> Result<bool, Error> {
        let max = self.0.config.prediction_log_max;
        let mut connection = self.0.storage.read().await?;
        Ok(predictions::has_surplus(&mut connection, oldest, max).await?)
    }

    /// Deletes the next photos beyond the limit; returns whether there are more. Holds the lock no longer:
    /// whoever reads the log waits for it.
    async fn delete_some_photos(&self) -> Result<bool, Error> {
        let mut kept = self.0.writing.lock().await;
        let limit = self.0.config.prediction_log_photo_bytes;
        Ok(self.0.delete_photos(&mut kept, limit).await?)
    }

    /// Deletes a prediction, and its photo if no other prediction is of the same.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn delete(&self, id: PredictionId) -> Result<(), Error> {
        let flushed = self.flush().await;
        match self.delete_some(Which::One(id)).await? {
            0 => Err(flushed.err().unwrap_or(Error::NoPrediction(id))),
            _ => Ok(()),
        }
    }

    /// Deletes all predictions of before `time`; returns how many.
    ///
    /// # Errors
    /// The database failed; some may be deleted.
    pub async fn delete_before(&self, time: Timestamp) -> Result<u64, Error> {
        self.flush().await?;
        self.delete_all(Which::Before(time)).await
    }

    async fn delete_all(&self, which: Which) -> Result<u64, Error> {
        let mut deleted = 0;
        loop {
            let batch = self.delete_some(which).await?;
            deleted += batch as u64;
            if batch < BATCH as usize {
                return Ok(deleted);
            }
            tokio::time::sleep(GAP).await;
        }
    }

    /// Deletes the next batch; returns how many predictions it was.
    async fn delete_some(&self, which: Which) -> Result<usize, Error> {
        let mut kept = self.0.writing.lock().await;
        let mut transaction = self.0.storage.write().await?;
        let deleted = match which {
            Which::One(id) => {
                predictions::delete(&mut transaction, id).await?.into_iter().collect()
            }
            Which::Before(time) => {
                predictions::delete_before(&mut transaction, time, BATCH).await?
            }
            Which::Beyond(max) => predictions::delete_oldest(&mut transaction, max, BATCH).await?,
        };
        if deleted.is_empty() {
            return Ok(0);
        }
        let unused = predictions::delete_unused_photos(&mut transaction, &deleted).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.0.remove_photos(&mut kept, unused).await;
        Ok(deleted.len())
    }

    /// Removes files of photos without a row, as a crash leaves them, and rows without a file.
    ///
    /// # Errors
    /// The disk or the database failed.
    pub async fn clean_up(&self) -> Result<(), Error> {
        let photos = self.0.photos.clone();
        let files = tokio::task::spawn_blocking(move || photos.list()).await??;
        let mut kept = self.0.writing.lock().await;
        let rows = {
            let mut connection = self.0.storage.read().await?;
            predictions::photos(&mut connection).await?
        };
        let known: HashSet<Digest> = rows.iter().map(|photo| photo.sha256).collect();
        let there: HashSet<Digest> = files.iter().map(|(digest, _)| *digest).collect();
        // One may have been written since the files were listed.
        let is_lost = |digest: &Digest| !self.0.photos.path(digest).exists();
        let lost: Vec<_> = known.difference(&there).copied().filter(is_lost).collect();
        if !lost.is_empty() {
            let mut transaction = self.0.storage.write().await?;
            predictions::delete_photos(&mut transaction, &lost).await?;
            transaction.commit().await.map_err(storage::Error::from)?;
            kept.bytes = None;
        }
        let orphans: Vec<_> = there.difference(&known).copied().collect();
        if orphans.is_empty() {
            return Ok(());
        }
        tracing::info!(photos = orphans.len(), "removing images of deleted predictions");
        let photos = self.0.photos.clone();
        tokio::task::spawn_blocking(move || {
            orphans.iter().try_for_each(|digest| photos.remove(digest))
        })
        .await??;
        Ok(())
    }
}
