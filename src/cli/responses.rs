//! The server's responses, as far as the commands read them.
//!
//! Plain strings where a later server may have more values than this program knows, and only what
//! is needed: unknown members are ignored. `--json` prints the responses as received.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    dataset::Split,
    gaps::Gaps,
    job::{BestEpoch, JobError, JobStatus},
};

/// A dataset.
#[derive(Debug, Deserialize)]
pub(super) struct Dataset {
    pub(super) name: String,
    pub(super) classes: Vec<String>,
    #[serde(default)]
    pub(super) open: bool,
    pub(super) version: String,
    /// Images of each class in each split.
    pub(super) counts: BTreeMap<String, BTreeMap<String, u64>>,
    pub(super) bytes: u64,
    pub(super) created_at: Timestamp,
}

/// The classes without images in some split.
pub(super) fn gaps<'a>(
    classes: impl IntoIterator<Item = &'a String>,
    counts: &BTreeMap<String, BTreeMap<String, u64>>,
) -> Gaps {
    Gaps::of(classes.into_iter().map(|class| {
        let of = |split: Split| counts.get(split.as_str()).and_then(|of| of.get(class)).copied();
        (class.clone(), Split::ALL.map(|split| of(split).unwrap_or(0)))
    }))
}

/// A training job.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) recipe: String,
    pub(super) dataset: String,
    pub(super) status: JobStatus,
    pub(super) progress: Option<Epochs>,
    pub(super) best: Option<BestEpoch>,
    pub(super) device: Option<String>,
    pub(super) precision: Option<String>,
    pub(super) error: Option<JobError>,
    pub(super) model_id: Option<String>,
    #[serde(default)]
    pub(super) service: Option<Service>,
    #[serde(default)]
    pub(super) placement: Option<Placement>,
    pub(super) created_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
}

/// Where the trainer of a job runs, if on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Placement {
    pub(super) executor: String,
    pub(super) state: String,
    pub(super) id: Option<String>,
    pub(super) node: Option<String>,
    pub(super) message: Option<String>,
}

/// The response to a new job, beside the job.
#[derive(Debug, Deserialize)]
pub(super) struct Warnings {
    #[serde(default)]
    pub(super) warnings: Vec<JobError>,
}

/// Whether the model of a job went into service.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Service {
    pub(super) decision: String,
    pub(super) reason: String,
}

/// The current epoch and the planned number of epochs.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Epochs {
    pub(super) epoch: u32,
    pub(super) epochs: u32,
}

/// What a trainer is doing.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Progress {
    pub(super) phase: String,
    pub(super) epoch: u32,
    pub(super) epochs: u32,
    pub(super) step: u64,
    pub(super) steps: u64,
    pub(super) eta_seconds: Option<f64>,
}

/// A model.
#[derive(Debug, Deserialize)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) recipe: String,
    pub(super) dataset: String,
    pub(super) val_accuracy: Option<f64>,
    pub(super) test_accuracy: Option<f64>,
    pub(super) bytes: u64,
    pub(super) created_at: Timestamp,
    pub(super) in_service: bool,
}

/// The report of an upload.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) added: u64,
    pub(super) duplicates: u64,
    pub(super) rejected: Vec<Rejected>,
    /// At least as many as `rejected` names.
    #[serde(default)]
    pub(super) rejected_total: u64,
    #[serde(default)]
    pub(super) ignored: Ignored,
}

/// Files that were ignored in an upload.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Ignored {
    pub(super) count: u64,
    pub(super) examples: Vec<String>,
}

/// A rejected file.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Rejected {
    pub(super) file: String,
    pub(super) code: String,
    pub(super) detail: String,
}

/// The response of `POST /predict`.
#[derive(Debug, Deserialize)]
pub(super) struct Predictions {
    pub(super) predictions: Vec<serde_json::Map<String, Value>>,
    pub(super) model: Value,
}

/// The result of reassigning the images of a dataset to splits.
#[derive(Debug, Deserialize)]
pub(super) struct SplitReport {
    pub(super) dataset: String,
    pub(super) moved: u64,
    /// Images of each class in each split.
    pub(super) counts: BTreeMap<String, BTreeMap<String, u64>>,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) items: Vec<Value>,
    pub(super) next_cursor: Option<String>,
}
