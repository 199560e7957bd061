//! The lists of a review, page by page: without images that are gone, that have another label now, or
//! that a person has decided on.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Error, Reviews,
    viewed::{Found, ViewedImage, viewed},
};
use crate::{
    domain::{
        ClassName, DatasetId, ImageId,
        dataset::{Digest, Split},
        review::{DuplicateGroup, List, Oddity, Outlier, Review, Suggestion, Suspect},
    },
    storage::{Page, datasets::Row, reviews},
};

/// An image whose label is probably wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SuspectView {
    /// The image.
    pub image: ViewedImage,
    /// Out-of-sample probability of its label.
    pub probability: f64,
    /// The class that it looks like.
    pub suggested: ClassName,
    /// Out-of-sample probability of that class.
    pub suggested_probability: f64,
}

/// A group of near-duplicates.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DuplicateView {
    /// The images.
    pub images: Vec<ViewedImage>,
    /// The least correlation of pixels among the pairs that join the group, 0 to 1.
    pub similarity: f64,
    /// Whether they are in more than one split: data leakage.
    pub across_splits: bool,
}

/// An image that is unlike the rest, or that shows little.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OutlierView {
    /// The image.
    pub image: ViewedImage,
    /// Why it is listed.
    pub reasons: Vec<Oddity>,
    /// Cosine distance to a far neighbour, 0 to 2.
    pub distance: f64,
}

/// An unlabelled image.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SuggestionView {
    /// The image.
    pub image: ViewedImage,
    /// The class that it looks like; null if there are fewer than two classes with images.
    pub suggested: Option<ClassName>,
    /// The probability of that class.
    pub probability: f64,
    /// That of the class after it, subtracted: the less, the more the label would teach.
    pub margin: f64,
}

/// All images in two dimensions; `images`, `x`, `y` and `labels` have the same length.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MapView {
    /// Class names.
    pub classes: Vec<ClassName>,
    /// Ids of the images.
    pub images: Vec<ImageId>,
    /// From the left, 0 to 1.
    pub x: Vec<f32>,
    /// From the top, 0 to 1.
    pub y: Vec<f32>,
    /// Indices of their classes as they are now; null if unlabelled.
    pub labels: Vec<Option<usize>>,
    /// Places in `images` of those that are possibly mislabelled.
    pub mislabelled: Vec<usize>,
}

impl DuplicateView {
    /// Whether a person has decided on all its images.
    pub(super) fn is_decided(&self) -> bool {
        self.images.iter().all(|image| image.decided)
    }
}

impl Reviews {
    async fn reviewed(&self, dataset: &str) -> Result<(Row, Arc<Review>), Error> {
        let row = self.0.datasets.row(dataset).await?;
        let review = self.result(row.id).await?.ok_or(Error::NotReviewed)?;
        Ok((row, review))
    }

    /// Images whose label is probably wrong.
    ///
    /// # Errors
    /// There is no such dataset, or no result yet.
    pub async fn mislabelled(
        &self,
        dataset: &str,
        from: usize,
        limit: u32,
    ) -> Result<Page<SuspectView>, Error> {
        let (row, review) = self.reviewed(dataset).await?;
        let view = |suspect: &Suspect, images: &mut Found| {
            let image = undecided(images, suspect.image_id)?;
            let label = known_class(&review, &row, suspect.label)?;
            (image.label.as_ref() == Some(&label)).then_some(SuspectView {
                image,
                probability: suspect.probability,
                suggested: known_class(&review, &row, suspect.suggested)?,
                suggested_probability: suspect.suggested_probability,
            })
        };
        let ids = |suspect: &Suspect| vec![suspect.image_id];
        let place = Place { dataset: row.id, list: Some(List::Mislabelled), from, limit };
        self.page(&review.mislabelled, place, ids, view).await
    }

    /// Groups of near-duplicates, those that were across splits first; without those whose images were
    /// all decided on, unless some that were in one split then are in different ones now.
    ///
    /// # Errors
    /// There is no such dataset, or no result yet.
    pub async fn duplicates(
        &self,
        dataset: &str,
        from: usize,
        limit: u32,
    ) -> Result<Page<DuplicateView>, Error> {
        let (row, review) = self.reviewed(dataset).await?;
        let ids = |group: &DuplicateGroup| group.images.clone();
        let place = Place { dataset: row.id, list: Some(List::Duplicates), from, limit };
        self.page(&review.duplicates, place, ids, group).await
    }

    /// Images that are unlike the rest, or that show little.
    ///
    /// # Errors
    /// There is no such dataset, or no result yet.
    pub async fn outliers(
        &self,
        dataset: &str,
        from: usize,
        limit: u32,
    ) -> Result<Page<OutlierView>, Error> {
        let (row, review) = self.reviewed(dataset).await?;
        let view = |outlier: &Outlier, images: &mut Found| {
            Some(OutlierView {
                image: undecided(images, outlier.image_id)?,
                reasons: outlier.reasons.clone(),
                distance: outlier.distance,
            })
        };
        let ids = |outlier: &Outlier| vec![outlier.image_id];
        let place = Place { dataset: row.id, list: Some(List::Outliers), from, limit };
        self.page(&review.outliers, place, ids, view).await
    }

    /// Unlabelled images, those whose label would teach most first.
    ///
    /// # Errors
    /// There is no such dataset, or no result yet.
    pub async fn suggestions(
        &self,
        dataset: &str,
        from: usize,
        limit: u32,
    ) -> Result<Page<SuggestionView>, Error> {
        let (row, review) = self.reviewed(dataset).await?;
        let view = |suggestion: &Suggestion, images: &mut Found| {
            let image = images.remove(&suggestion.image_id)?;
            let suggested = suggestion.suggested;
            image.label.is_none().then_some(SuggestionView {
                image,
                suggested: suggested.and_then(|class| known_class(&review, &row, class)),
                probability: suggestion.probability,
                margin: suggestion.margin,
            })
        };
        let ids = |suggestion: &Suggestion| vec![suggestion.image_id];
        let place = Place { dataset: row.id, list: None, from, limit };
        self.page(&review.suggestions, place, ids, view).await
    }

    /// The page at a place of the views of `items`, which have the images `ids`; `view` gives none for
    /// an item that is not shown.
    async fn page<T: Sync, V: Send>(
        &self,
        items: &[T],
        place: Place,
        ids: impl Fn(&T) -> Vec<ImageId> + Send,
        view: impl Fn(&T, &mut Found) -> Option<V> + Send,
    ) -> Result<Page<V>, Error> {
        let limit = place.limit as usize;
        let mut at = place.from.min(items.len());
        let mut page = Page { items: Vec::new(), next_cursor: None };
        let mut connection = self.0.storage.read().await?;
        while at < items.len() && page.items.len() < limit {
            let some = &items[at..(at + limit).min(items.len())];
            let wanted: Vec<ImageId> = some.iter().flat_map(&ids).collect();
            let mut found = viewed(&mut connection, place.dataset, place.list, &wanted).await?;
            for item in some {
                if page.items.len() == limit {
                    break;
                }
                at += 1;
                page.items.extend(view(item, &mut found));
            }
        }
        page.next_cursor = (at < items.len()).then(|| at.to_string());
        Ok(page)
    }

    /// The map of a dataset with its labels as they are now.
    ///
    /// # Errors
    /// There is no such dataset, or no result yet.
    pub async fn map(&self, dataset: &str) -> Result<MapView, Error> {
        let (_, review) = self.reviewed(dataset).await?;
        // Labels are indices of the classes at one moment.
        let mut snapshot = self.0.storage.snapshot().await?;
        let row = crate::storage::datasets::find(&mut snapshot, dataset).await?;
        let Some(row) = row else { return Err(Error::NotReviewed) };
        let photos = reviews::photos(&mut snapshot, row.id).await?;
        let now: HashMap<ImageId, _> = photos.iter().map(|it| (it.image_id, it)).collect();
        let hashes: Vec<Digest> = review
            .mislabelled
            .iter()
            .filter_map(|it| now.get(&it.image_id).map(|photo| photo.sha256))
            .collect();
        let decided = reviews::decided(&mut snapshot, row.id, List::Mislabelled, &hashes).await?;
        let wrong: HashSet<ImageId> = review
            .mislabelled
            .iter()
            .filter(|suspect| {
                now.get(&suspect.image_id).is_some_and(|photo| {
                    let label = photo.label.and_then(|label| row.classes.name(label));
                    label == review.classes.get(suspect.label)
                        && decided.get(&photo.sha256).is_none_or(|it| it.label.as_ref() != label)
                })
            })
            .map(|suspect| suspect.image_id)
            .collect();
        let mut view = MapView {
            classes: row.classes.names().to_vec(),
            images: Vec::new(),
            x: Vec::new(),
            y: Vec::new(),
            labels: Vec::new(),
            mislabelled: Vec::new(),
        };
        let places = review.map.x.iter().zip(&review.map.y);
        for (id, (x, y)) in review.map.images.iter().zip(places) {
            let Some(photo) = now.get(id) else { continue };
            if wrong.contains(id) {
                view.mislabelled.push(view.images.len());
            }
            view.images.push(*id);
            view.x.push(*x);
            view.y.push(*y);
            view.labels.push(photo.label);
        }
        Ok(view)
    }
}

/// Takes an image that nobody has decided on.
fn undecided(images: &mut Found, id: ImageId) -> Option<ViewedImage> {
    images.remove(&id).filter(|image| !image.decided)
}

/// The view of a group; none if all its images were decided on: another copy may have come since, or they may
/// have been separated.
fn group(group: &DuplicateGroup, images: &mut Found) -> Option<DuplicateView> {
    let images: Vec<_> = group.images.iter().filter_map(|id| images.remove(id)).collect();
    let splits: HashSet<_> = images.iter().filter_map(|it| it.split).collect();
    let across_splits = splits.len() > 1;
    let view = DuplicateView { across_splits, images, similarity: group.similarity };
    let is_listed = !view.is_decided() || are_separated(&view.images);
    (view.images.len() > 1 && is_listed).then_some(view)
}

/// Whether images that were in one split when a person decided on them are in different ones now.
fn are_separated(images: &[ViewedImage]) -> bool {
    let mut now: HashMap<Split, Split> = HashMap::new();
    let known = images.iter().filter_map(|image| image.split_then.zip(image.split));
    known.into_iter().any(|(then, split)| *now.entry(then).or_insert(split) != split)
}

/// A page of a list.
#[derive(Debug, Clone, Copy)]
struct Place {
    dataset: DatasetId,
    /// Its decisions count.
    list: Option<List>,
    /// The first item.
    from: usize,
    /// Items that are shown.
    limit: u32,
}

/// The name of a class of the review; `None` if the dataset no longer has it.
fn known_class(review: &Review, row: &Row, class: usize) -> Option<ClassName> {
    let name = review.classes.get(class)?;
    row.classes.names().contains(name).then(|| name.clone())
}
