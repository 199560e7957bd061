//! What was computed of all images of a dataset, kept until they change: looking at a dataset takes as long
//! with any number of images.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::domain::DatasetId;

/// Datasets that are remembered; beyond that, all are forgotten.
const MAX: usize = 256;

/// One value for each of some datasets, with the revision of the dataset that it was computed at.
#[derive(Debug)]
pub(super) struct Unchanged<T>(Mutex<HashMap<DatasetId, (i64, T)>>);

impl<T> Default for Unchanged<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Unchanged<T> {
    /// The value, if it was computed at that revision.
    pub(super) fn get(&self, dataset: DatasetId, revision: i64) -> Option<T> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&dataset).filter(|(at, _)| *at == revision).map(|(_, value)| value.clone())
    }

    /// Remembers the value at that revision.
    pub(super) fn put(&self, dataset: DatasetId, revision: i64, value: T) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX {
            known.clear();
        }
        known.insert(dataset, (revision, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_revision_or_dataset_is_not_returned() {
        let (known, dataset) = (Unchanged::default(), DatasetId::new());
        assert_eq!(known.get(dataset, 1), None);
        known.put(dataset, 1, "one");
        assert_eq!(known.get(dataset, 1), Some("one"));
        assert_eq!(known.get(dataset, 2), None);
        assert_eq!(known.get(DatasetId::new(), 1), None);
        known.put(dataset, 2, "two");
        assert_eq!((known.get(dataset, 1), known.get(dataset, 2)), (None, Some("two")));
    }

    #[test]
    fn a_bounded_number_is_remembered() {
        let known = Unchanged::default();
        for _ in 0..=MAX {
            known.put(DatasetId::new(), 1, ());
        }
        assert_eq!(known.0.lock().unwrap().len(), 1);
    }
}
