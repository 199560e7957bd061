//! Statistics of a dataset, for a look at it before training.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Datasets, Error, fingerprint};
use crate::{
    domain::{
        ClassName, ImageId,
        dataset::{Classes, Counts, Split},
    },
    storage::{self, statistics::NearDuplicate},
};

/// Maximum bins of a histogram.
const MAX_BINS: u32 = 20;

/// Groups of duplicates that are listed.
const MAX_GROUPS: usize = 100;

/// Dataset statistics.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Statistics {
    /// Total number of images.
    pub images: u64,
    /// Total size of the original files in bytes.
    pub bytes: u64,
    /// Image counts by split and class.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, u64>>)]
    pub counts: Counts,
    /// Histogram of widths in pixels; null if there are no images.
    pub width: Option<Histogram>,
    /// Histogram of heights in pixels; null if there are no images.
    pub height: Option<Histogram>,
    /// Image counts by media type.
    pub formats: BTreeMap<String, u64>,
    /// Near-duplicates across splits.
    pub cross_split_duplicates: CrossSplitDuplicates,
}

/// Histogram of image widths or heights.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Histogram {
    /// Minimum.
    pub min: u32,
    /// Maximum.
    pub max: u32,
    /// Mean.
    pub mean: f64,
    /// Bin edges (one more than bins): bin `i` counts values of at least `edges[i]` and less than
    /// `edges[i + 1]`.
    pub edges: Vec<u32>,
    /// Images in each bin.
    pub counts: Vec<u64>,
}

/// Near-duplicates (same difference hash) across splits: possible data leakage.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct CrossSplitDuplicates {
    /// Total number of groups.
    pub count: u64,
    /// First 100 groups.
    pub groups: Vec<Group>,
}

/// Images with the same difference hash (first 10 per split).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Group {
    /// The difference hash, as 16 hex digits.
    pub fingerprint: String,
    /// The images.
    pub images: Vec<Member>,
}

/// Image in a group.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Member {
    /// Id.
    pub id: ImageId,
    /// Original file name.
    pub file_name: String,
    /// Class.
    pub label: ClassName,
    /// Split.
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
    /// Statistics of the dataset of that id or name.
    ///
    /// # Errors
    /// There is none of that id or name.
    pub async fn statistics(&self, dataset: &str) -> Result<Statistics, Error> {
        // Labels are indices of the classes at one moment.
        let mut connection = self.storage().snapshot().await?;
        let row = storage::datasets::find(&mut connection, dataset).await?;
        let row = row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))?;
        if let Some(known) = self.0.statistics.get(row.id, row.revision) {
            return Ok(known);
        }
        let super::Sums { counts, images, bytes, .. } = self.sums(&mut connection, &row).await?;
        let (widths, heights) = storage::statistics::sizes(&mut connection, row.id).await?;
        let formats = storage::statistics::formats(&mut connection, row.id).await?;
        let mut shared = storage::statistics::shared_fingerprints(&mut connection, row.id).await?;
        shared.retain(|bits| fingerprint::is_distinctive(*bits));
        let count = shared.len() as u64;
        shared.truncate(MAX_GROUPS);
        let duplicates =
            storage::statistics::near_duplicates(&mut connection, row.id, &shared).await?;
        let groups = shared.into_iter().map(|bits| Group::of(bits, &duplicates, &row.classes));
        let statistics = Statistics {
            images,
            bytes,
            counts,
            width: Histogram::of(&widths),
            height: Histogram::of(&heights),
            formats,
            cross_split_duplicates: CrossSplitDuplicates { count, groups: groups.collect() },
        };
        self.0.statistics.put(row.id, row.revision, statistics.clone());
        Ok(statistics)
    }
}

impl Histogram {
    /// The histogram of values and their counts, in ascending order.
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

/// The width of bins over that span: 1, 2 or 5 times a power of ten, so that the edges are round
/// numbers, with at most [`MAX_BINS`] bins.
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
