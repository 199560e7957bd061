//! What people decide about the images in the lists of a review.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use sqlx::SqliteConnection;
use utoipa::ToSchema;

use super::{Error, Reviews, lists::DuplicateView};
use crate::{
    domain::{
        DatasetId, ImageId,
        dataset::{Image, Split},
        review::{Decision, List},
    },
    storage::{self, images, reviews, unlabelled},
};

/// Images of one request, at most.
const MAX_IMAGES: usize = 1000;

/// Result of a decision.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Decided {
    /// Images that it was remembered for.
    pub decided: u64,
}

/// Result of joining near-duplicates in one split.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Joined {
    /// Groups that are in one split now.
    pub groups: u64,
    /// Images that were moved.
    pub moved: u64,
}

impl Reviews {
    /// Remembers a decision on images in a list, for as long as they have the labels that they have
    /// now.
    ///
    /// # Errors
    /// There is no such dataset, or an image is not in it.
    pub async fn decide(
        &self,
        dataset: &str,
        list: List,
        ids: &[ImageId],
        decision: Decision,
    ) -> Result<Decided, Error> {
        check_number(ids)?;
        let row = self.0.datasets.row(dataset).await?;
        let mut transaction = self.0.storage.write().await?;
        let labelled = images::of_ids(&mut transaction, ids).await?;
        let without = unlabelled::of_ids(&mut transaction, ids).await?;
        let found = (labelled.into_iter())
            .map(|it| (it.id, it.dataset_id, it.sha256, Some((it.label, it.split))))
            .chain(without.into_iter().map(|it| (it.id, it.dataset_id, it.sha256, None)));
        let found: BTreeMap<ImageId, _> = found
            .filter(|(_, dataset, ..)| *dataset == row.id)
            .map(|(id, _, sha256, known)| {
                let (label, split) = known.unzip();
                (id, (sha256, reviews::DecidedImage { label, split }))
            })
            .collect();
        if let Some(id) = ids.iter().find(|id| !found.contains_key(id)) {
            return Err(crate::datasets::Error::NoImage(*id).into());
        }
        for (sha256, now) in found.values() {
            reviews::decide(&mut transaction, row.id, list, sha256, now, decision).await?;
        }
        transaction.commit().await.map_err(storage::Error::from)?;
        self.state().decisions += 1;
        Ok(Decided { decided: found.len() as u64 })
    }

    /// Moves near-duplicates to one split: that of most of them, of the training split and then the
    /// validation split if there are as many, or `split`. Those without a label stay as they are.
    ///
    /// # Errors
    /// There is no such dataset, or an image is not in it.
    pub async fn join(
        &self,
        dataset: &str,
        ids: &[ImageId],
        split: Option<Split>,
    ) -> Result<Joined, Error> {
        check_number(ids)?;
        let row = self.0.datasets.row(dataset).await?;
        let mut transaction = self.0.storage.write().await?;
        let found = images::of_ids(&mut transaction, ids).await?;
        let without = unlabelled::of_ids(&mut transaction, ids).await?;
        let known: HashSet<ImageId> = (found.iter().map(|image| (image.id, image.dataset_id)))
            .chain(without.iter().map(|image| (image.id, image.dataset_id)))
            .filter(|(_, dataset)| *dataset == row.id)
            .map(|(id, _)| id)
            .collect();
        if let Some(id) = ids.iter().find(|id| !known.contains(id)) {
            return Err(crate::datasets::Error::NoImage(*id).into());
        }
        let moved = move_together(&mut transaction, row.id, &found, split).await?;
        if moved > 0 {
            storage::datasets::clear_version(&mut transaction, row.id).await?;
        }
        transaction.commit().await.map_err(storage::Error::from)?;
        Ok(Joined { groups: 1, moved })
    }

    /// As [`Reviews::join`], of all groups of the last review that are in more than one split and
    /// that nobody has dismissed.
    ///
    /// # Errors
    /// There is no such dataset, or no result yet.
    pub async fn join_all(&self, dataset: &str) -> Result<Joined, Error> {
        let mut from = 0;
        let mut joined = Joined { groups: 0, moved: 0 };
        loop {
            let row = self.0.datasets.row(dataset).await?;
            let page = self.duplicates(dataset, from, 500).await?;
            let mut transaction = self.0.storage.write().await?;
            let mut moved = 0;
            let wanted = |group: &&DuplicateView| group.across_splits && !group.is_decided();
            for group in page.items.iter().filter(wanted) {
                let ids: Vec<ImageId> = group.images.iter().map(|image| image.id).collect();
                // Those that have a label and were not deleted meanwhile.
                let mut found = images::of_ids(&mut transaction, &ids).await?;
                found.retain(|image| image.dataset_id == row.id);
                let of_group = move_together(&mut transaction, row.id, &found, None).await?;
                joined.groups += u64::from(of_group > 0);
                moved += of_group;
            }
            if moved > 0 {
                storage::datasets::clear_version(&mut transaction, row.id).await?;
            }
            transaction.commit().await.map_err(storage::Error::from)?;
            joined.moved += moved;
            match page.next_cursor.and_then(|cursor| cursor.parse().ok()) {
                Some(next) => from = next,
                None => return Ok(joined),
            }
        }
    }
}

fn check_number(ids: &[ImageId]) -> Result<(), Error> {
    if ids.is_empty() || ids.len() > MAX_IMAGES {
        return Err(Error::Invalid(format!(
            "images must be 1 to {MAX_IMAGES} ids, not {}",
            ids.len()
        )));
    }
    Ok(())
}

/// Moves images to `split`, or to the one that most of them are in; returns how many moved.
async fn move_together(
    connection: &mut SqliteConnection,
    dataset: DatasetId,
    images: &[Image],
    split: Option<Split>,
) -> Result<u64, Error> {
    let count = |split: Split| images.iter().filter(|image| image.split == split).count();
    let most = Split::ALL.into_iter().rev().max_by_key(|split| count(*split));
    let target = split.or(most).unwrap_or(Split::Train);
    let moved = images.iter().filter(|image| image.split != target).map(|image| image.id);
    let moved: Vec<ImageId> = moved.collect();
    if !moved.is_empty() {
        images::move_to_split(connection, dataset, &moved, target).await?;
    }
    Ok(moved.len() as u64)
}
