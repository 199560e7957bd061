//! What earlier probes found.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;

use super::needs::Needs;
use crate::training::spec::Spec;

/// Probes that are remembered.
const REMEMBERED: usize = 32;

/// The probe in progress, and what earlier ones found.
#[derive(Debug)]
pub(in crate::scheduler) struct Probes {
    pub(super) running: Arc<Semaphore>,
    /// Needs of jobs, newest last.
    remembered: Mutex<VecDeque<(String, Needs)>>,
}

impl Default for Probes {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(1)), remembered: Mutex::default() }
    }
}

impl Probes {
    pub(super) fn remember(&self, job: String, needs: Needs) {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _)| *other != job);
        all.push_back((job, needs));
        if all.len() > REMEMBERED {
            all.pop_front();
        }
    }

    pub(super) fn recall(&self, job: &str) -> Option<Needs> {
        let all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(other, _)| other == job).map(|(_, needs)| needs.clone())
    }
}

/// What makes two jobs need the same.
pub(super) fn key(spec: &Spec) -> String {
    let Spec { recipe, params, dataset_version, .. } = spec;
    serde_json::to_string(&(recipe, params, dataset_version)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_probes_are_remembered() {
        let probes = Probes::default();
        for number in 0..REMEMBERED as u64 + 1 {
            let needs = Needs { memory: Some(number), disk: None };
            probes.remember(number.to_string(), needs);
        }
        assert!(probes.recall("0").is_none());
        probes.remember("1".to_owned(), Needs { memory: Some(7), disk: None });
        assert_eq!(probes.recall("1").and_then(|needs| needs.memory), Some(7));
        probes.remember("new".to_owned(), Needs::default());
        assert!(probes.recall("2").is_none(), "the oldest");
        assert!(probes.recall("1").is_some());
    }
}
