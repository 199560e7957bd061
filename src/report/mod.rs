//! The report of a model: what it was trained on and how, what it can do, and what nobody knows of it. As data,
//! and as one HTML page that needs nothing else.
//!
//! Called by `http::model_reports`; knows rows, cards and charts, and does no I/O itself.

mod limits;
mod page;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

pub use self::page::html;
use crate::domain::{
    JobId, ModelId, Name, Timestamp,
    base::Base,
    dataset::{Classes, Digest, Sample, Split},
    evaluation::Evaluation,
    job::Job,
    metrics::{EpochMetrics, SplitMetrics},
    model::{Architecture, Model, ModelCard, Pretrained},
    parameters::Params,
    recipe::{Precision, Recipe},
    selective::{AnswerThresholds, Coverage},
};

/// The report of a model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ModelReport {
    /// When the report was written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The model.
    pub model: Facts,
    /// What it was trained on.
    pub data: Data,
    /// How it was trained.
    pub training: Training,
    /// Loss and accuracy of the validation split at the best epoch.
    pub validation: SplitMetrics,
    /// Evaluation on the test split; null if there were no test images, or it was made on another server or
    /// with a job that was deleted.
    pub evaluation: Option<Evaluation>,
    /// Metrics of the test split, if there was one.
    pub test: Option<SplitMetrics>,
    /// Accuracy by the share of answered images of the validation split.
    pub coverage: Coverage,
    /// What the model can't do, and what is not known of it: one sentence each.
    pub limits: Vec<String>,
}

/// What a model is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ReportedModel)]
pub struct Facts {
    /// Id.
    pub id: ModelId,
    /// Name.
    pub name: Name,
    /// Network architecture.
    pub architecture: String,
    /// Width and height of its input in pixels.
    pub input: [u32; 2],
    /// Number of parameters.
    pub parameters: u64,
    /// Size of its file in bytes, as it was downloaded when the report was written.
    pub bytes: u64,
    /// SHA-256 of that file; null if it can't be read.
    pub sha256: Option<Digest>,
    /// When it was trained.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Version of Pawprint that trained it.
    pub pawprint_version: String,
    /// Whether it is in service now.
    pub in_service: bool,
    /// What its logits are divided by before they become probabilities.
    pub temperature: Option<f64>,
    /// When it is unsure.
    #[serde(flatten)]
    pub thresholds: AnswerThresholds,
}

/// What a model was trained on.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ReportedData)]
pub struct Data {
    /// Name of the dataset.
    pub dataset: Name,
    /// Version of the snapshot.
    pub dataset_version: Digest,
    /// Class names, in the order of their indices.
    pub classes: Classes,
    /// Numbers of images by split and class; null if the job was deleted, or ran on another server.
    pub images: Option<BTreeMap<Split, BTreeMap<String, u64>>>,
}

/// How a model was trained.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ReportedTraining)]
pub struct Training {
    /// Recipe.
    pub recipe: Recipe,
    /// Parameters.
    pub params: Params,
    /// Id of its job, wherever that was.
    pub job_id: JobId,
    /// Name of the job; null if it was deleted, or ran on another server.
    pub job: Option<Name>,
    /// The epoch of its weights.
    pub best_epoch: u32,
    /// Metrics of each epoch; empty if the job was deleted, or ran on another server.
    pub epochs: Vec<EpochMetrics>,
    /// Device; null if unknown.
    pub device: Option<String>,
    /// Precision; null if unknown.
    pub precision: Option<Precision>,
    /// Node of a cluster; null if it was trained on the server, or unknown.
    pub node: Option<String>,
    /// When the job started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// The pretrained weights it started from.
    pub pretrained: Option<PretrainedWeights>,
}

/// Pretrained weights, with their licence.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PretrainedWeights {
    /// Their publisher.
    pub origin: String,
    /// SHA-256 of the source file.
    pub sha256: Digest,
    /// Their licence, an SPDX identifier; null if it is not known here.
    pub license: Option<&'static str>,
    /// Where they were published; null if it is not known here.
    pub url: Option<&'static str>,
}

impl PretrainedWeights {
    fn of(architecture: Architecture, pretrained: Pretrained) -> Self {
        let base = match architecture {
            Architecture::Cnn => None,
            Architecture::Base(base) => Some(base),
        };
        let Pretrained { origin, sha256 } = pretrained;
        let shipped = base.and_then(Base::shipped).filter(|shipped| shipped.sha256 == sha256);
        let (license, url) = (shipped.map(|it| it.license), shipped.map(|it| it.url));
        Self { origin, sha256, license, url }
    }
}

/// What a report is made from.
#[derive(Debug)]
pub struct Sources {
    /// The model's row, with the size of its file as it is downloaded.
    pub model: Model,
    /// Its card.
    pub card: ModelCard,
    /// SHA-256 of that file.
    pub sha256: Option<Digest>,
    /// Its job, if it is here.
    pub job: Option<Job>,
    /// The epochs of that job.
    pub epochs: Vec<EpochMetrics>,
    /// The images of that job.
    pub samples: Option<Vec<Sample>>,
    /// The evaluation of that job.
    pub evaluation: Option<Evaluation>,
}

impl ModelReport {
    /// The report made from these.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        let Sources { model, card, sha256, job, epochs, samples, evaluation } = sources;
        let images = samples.map(|samples| count(&card.classes, &samples));
        let placement = job.as_ref().and_then(|job| job.placement.as_ref());
        let mut report = Self {
            created_at: Timestamp::now(),
            model: Facts {
                id: model.id,
                name: model.name,
                architecture: model.architecture,
                input: [card.preprocessing.width, card.preprocessing.height],
                parameters: model.parameters,
                bytes: model.bytes,
                sha256,
                created_at: model.created_at,
                pawprint_version: card.pawprint_version,
                in_service: model.in_service,
                temperature: card.temperature,
                thresholds: model.thresholds,
            },
            training: Training {
                recipe: card.recipe,
                params: card.params,
                job_id: card.job_id,
                best_epoch: card.epoch,
                epochs,
                device: job.as_ref().and_then(|job| job.device.clone()),
                precision: job.as_ref().and_then(|job| job.precision),
                node: placement.and_then(|placement| placement.node.clone()),
                started_at: job.as_ref().and_then(|job| job.started_at),
                finished_at: job.as_ref().and_then(|job| job.finished_at),
                job: job.map(|job| job.name),
                pretrained: card
                    .pretrained
                    .map(|pretrained| PretrainedWeights::of(card.architecture, pretrained)),
            },
            data: Data {
                dataset: card.dataset,
                dataset_version: card.dataset_version,
                classes: card.classes,
                images,
            },
            validation: card.validation,
            test: card.test,
            evaluation,
            coverage: card.coverage,
            limits: Vec::new(),
        };
        report.limits = limits::of(&report);
        report
    }
}

fn count(classes: &Classes, samples: &[Sample]) -> BTreeMap<Split, BTreeMap<String, u64>> {
    let none = || classes.names().iter().map(|name| (name.to_string(), 0)).collect();
    let mut counts: BTreeMap<_, BTreeMap<String, u64>> =
        Split::ALL.map(|split| (split, none())).into();
    for sample in samples {
        let of = counts.entry(sample.split).or_default();
        if let Some(name) = classes.name(sample.label) {
            *of.entry(name.to_string()).or_default() += 1;
        }
    }
    counts
}
