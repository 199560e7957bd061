//! What there is to see in a dataset before anything is trained on it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Datasets, Error, fingerprint};
use crate::{
    domain::{
        ImageId, Name,
        dataset::{Classes, Counts, Split},
    },
    storage::{self, statistics::NearDuplicate},
};

/// Bins of a histogram, at most.
const MAX_BINS: u32 = 20;

/// Groups of duplicates that are listed.
const MAX_GROUPS: usize = 100;

/// What there is to see in a dataset.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Statistics {
    /// Images in all.
    pub images: u64,
    /// Bytes of all images as they were uploaded.
    pub bytes: u64,
    /// Images by split and class.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, u64>>)]
    pub counts: Counts,
    /// Widths in pixels, upright; absent while there is no image.
    pub width: Option<Histogram>,
    /// Heights in pixels, upright.
    pub height: Option<Histogram>,
    /// Images by media type.
    pub formats: BTreeMap<String, u64>,
    /// Pictures that stand in more than one split.
    pub cross_split_duplicates: CrossSplitDuplicates,
}

/// How many images have how many pixels on one side.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Histogram {
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// The mean.
    pub mean: f64,
    /// Bounds of the bins, one more than there are bins: bin `i` holds what is at least
    /// `edges[i]` and less than `edges[i + 1]`.
    pub edges: Vec<u32>,
    /// Images in each bin.
    pub counts: Vec<u64>,
}

/// Pictures that look alike to the fingerprint and stand in more than one split: a model would
/// be examined on what it learned from.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct CrossSplitDuplicates {
    /// Groups in all.
    pub count: u64,
    /// The first hundred groups.
    pub groups: Vec<Group>,
}

/// Images with the same fingerprint: the first ten of each split.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Group {
    /// The fingerprint, as 16 hex digits.
    pub fingerprint: String,
    /// The images.
    pub images: Vec<Member>,
}

/// An image of a group.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Member {
    /// Its id.
    pub id: ImageId,
    /// Its file's name.
    pub file_name: String,
    /// Its class.
    pub label: Name,
    /// Its split.
    pub split: Split,
}

impl Group {
    fn of(fingerprint: u64, duplicates: &[NearDuplicate], classes: &Classes) -> Self {
        let images = duplicates
            .iter()
            .filter(|duplicate| duplicate.fingerprint == fingerprint)
            .filter_map(|duplicate| {
                let label = classes.name(duplicate.label)?.clone();
                Some(Member {
                    id: duplicate.id,
                    file_name: duplicate.file_name.clone(),
                    label,
                    split: duplicate.split,
                })
            });
        Self { fingerprint: format!("{fingerprint:016x}"), images: images.collect() }
    }
}

impl Datasets {
    /// What there is to see in a dataset.
    ///
    /// # Errors
    /// There is none of that id or name.
    pub async fn statistics(&self, dataset: &str) -> Result<Statistics, Error> {
        let row = self.row(dataset).await?;
        let mut connection = self.storage().read().await?;
        let (counts, images, bytes) = storage::datasets::counts(&mut connection, &row).await?;
        let (widths, heights) = storage::statistics::sizes(&mut connection, row.id).await?;
        let formats = storage::statistics::formats(&mut connection, row.id).await?;
        let mut shared = storage::statistics::shared_fingerprints(&mut connection, row.id).await?;
        shared.retain(|bits| fingerprint::is_distinctive(*bits));
        let count = shared.len() as u64;
        shared.truncate(MAX_GROUPS);
        let duplicates =
            storage::statistics::near_duplicates(&mut connection, row.id, &shared).await?;
        let groups = shared.into_iter().map(|bits| Group::of(bits, &duplicates, &row.classes));
        Ok(Statistics {
            images,
            bytes,
            counts,
            width: Histogram::of(&widths),
            height: Histogram::of(&heights),
            formats,
            cross_split_duplicates: CrossSplitDuplicates { count, groups: groups.collect() },
        })
    }
}

impl Histogram {
    /// The histogram of values and how often each occurs, in rising order.
    #[must_use]
    pub fn of(values: &[(u32, u64)]) -> Option<Self> {
        let (min, max) = (values.first()?.0, values.last()?.0);
        let step = round_step(max - min);
        let start = min / step * step;
        let bins = (max - start) / step + 1;
        let mut counts = vec![0; bins as usize];
        let (mut sum, mut total) = (0.0, 0.0);
        for &(value, count) in values {
            counts[((value - start) / step) as usize] += count;
            sum += f64::from(value) * count as f64;
            total += count as f64;
        }
        let edges = (0..=bins).map(|bin| start.saturating_add(bin * step)).collect();
        Some(Self { min, max, mean: sum / total, edges, counts })
    }
}

/// The width of bins over that span: 1, 2 or 5 times a power of ten, so that the bounds are
/// round numbers, and at most [`MAX_BINS`] of them.
fn round_step(span: u32) -> u32 {
    let mut power = 1;
    loop {
        for factor in [1, 2, 5] {
            if span / (power * factor) < MAX_BINS {
                return power * factor;
            }
        }
        power *= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bins_have_round_bounds() {
        let histogram = Histogram::of(&[(203, 1), (250, 2), (499, 1)]).unwrap();
        assert_eq!((histogram.min, histogram.max), (203, 499));
        assert!((histogram.mean - 300.5).abs() < 1e-9);
        assert_eq!(histogram.edges.first(), Some(&200));
        assert_eq!(histogram.edges[1] - histogram.edges[0], 20);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 4);
        assert_eq!(histogram.counts[2], 2);
    }

    #[test]
    fn images_of_one_size_fill_one_bin() {
        let histogram = Histogram::of(&[(200, 5_000)]).unwrap();
        assert_eq!((histogram.edges, histogram.counts), (vec![200, 201], vec![5_000]));
        assert_eq!(Histogram::of(&[]), None);
    }

    proptest! {
        #[test]
        fn every_value_falls_into_its_bin(
            values in prop::collection::btree_map(1..100_000_u32, 1..9_u64, 1..50)
        ) {
            let values: Vec<_> = values.into_iter().collect();
            let histogram = Histogram::of(&values).unwrap();
            prop_assert!(histogram.counts.len() <= MAX_BINS as usize + 1);
            prop_assert_eq!(histogram.edges.len(), histogram.counts.len() + 1);
            for (bin, count) in histogram.counts.iter().enumerate() {
                let inside = histogram.edges[bin]..histogram.edges[bin + 1];
                let expected: u64 =
                    values.iter().filter(|(value, _)| inside.contains(value)).map(|(_, count)| count).sum();
                prop_assert_eq!(*count, expected);
            }
        }
    }
}
