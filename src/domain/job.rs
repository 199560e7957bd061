//! Jobs: their states, the legal transitions between them, and what a trainer reports.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    JobId, ModelId, Name, Timestamp,
    dataset::Digest,
    excerpt::Excerpt,
    parameters::Params,
    placement::Placement,
    recipe::{Precision, Recipe},
    service::Service,
};

/// Job status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Queued.
    Queued,
    /// Running.
    Running,
    /// Finished with a model.
    Succeeded,
    /// Stopped by an error.
    Failed,
    /// Cancelled by a user.
    Cancelled,
    /// Trainer or server exited unexpectedly.
    Interrupted,
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether a job may move from `self` to `next`.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Running | Self::Cancelled),
            // Back to the queue: the server shuts down, or the trainer exited unexpectedly and is
            // restarted.
            Self::Running => !matches!(next, Self::Running),
            // A user resumes it.
            Self::Failed | Self::Cancelled | Self::Interrupted => matches!(next, Self::Queued),
            Self::Succeeded => false,
        }
    }

    /// Whether the job has finished, unless a user resumes it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A string that names no status.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown job status `{}`; use queued, running, succeeded, failed, cancelled or interrupted",
    Excerpt(.0)
)]
pub struct UnknownStatus(pub String);

impl FromStr for JobStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// A user's request to end a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlRequest {
    /// End as `cancelled`, within one batch.
    Cancel,
    /// End training within one batch, evaluate and keep the best epoch so far.
    Stop,
}

/// Current phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Downloading pretrained weights.
    Downloading,
    /// Reading and decoding images.
    Preparing,
    /// Extracting features with the frozen base.
    Extracting,
    /// Training the head alone, before fine-tuning.
    TrainingHead,
    /// Optimizer steps.
    Training,
    /// Evaluating the epoch on the validation split.
    Validating,
    /// Evaluating the best epoch on the test split.
    Evaluating,
    /// Writing the model file.
    Saving,
    /// Evaluating the model in service on the images of the job.
    Comparing,
}

/// Job progress.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Current phase.
    pub phase: Phase,
    /// Current epoch, starting at 1; 0 before the first.
    pub epoch: u32,
    /// Planned number of epochs.
    pub epochs: u32,
    /// Steps done in this phase: bytes while downloading, images while preparing and extracting,
    /// optimizer steps while training, batches while evaluating and comparing.
    pub step: u64,
    /// Total steps in this phase.
    pub steps: u64,
    /// Estimated seconds until the job finishes; before the first epoch, until the phase finishes.
    pub eta_seconds: Option<f64>,
}

/// Best epoch so far (lowest validation loss).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BestEpoch {
    /// Epoch, starting at 1; 0 if fine-tuning has not improved on its initial weights.
    pub epoch: u32,
    /// Validation loss.
    pub val_loss: f64,
    /// Validation accuracy.
    pub val_accuracy: f64,
}

/// Error details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// Stable error code.
    pub code: String,
    /// Readable message.
    pub detail: String,
}

/// Training job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Job {
    /// Id.
    pub id: JobId,
    /// Unique name.
    pub name: Name,
    /// Training recipe.
    pub recipe: Recipe,
    /// Name of the dataset.
    pub dataset: Name,
    /// Version of the dataset snapshot it trains on.
    pub dataset_version: Digest,
    /// Training parameters, defaults included.
    pub params: Params,
    /// Job status.
    pub status: JobStatus,
    /// Progress; null before the first start.
    pub progress: Option<Progress>,
    /// Best epoch so far (lowest validation loss); null before the first.
    pub best: Option<BestEpoch>,
    /// Effective device; null before the first start.
    pub device: Option<String>,
    /// Effective precision; null before the first start.
    pub precision: Option<Precision>,
    /// Where the trainer runs, or ran last, on a cluster; null if it never did.
    pub placement: Option<Placement>,
    /// Training attempts since the job was created or resumed.
    pub attempts: u32,
    /// Error details, if any.
    pub error: Option<JobError>,
    /// Id of its model.
    pub model_id: Option<ModelId>,
    /// Whether its model went into service, and why; null until decided.
    pub service: Option<Service>,
    /// Submission time.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Start time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// End time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::{JobStatus::*, *};

    #[test]
    fn statuses_survive_their_text_form() {
        for status in JobStatus::ALL {
            assert_eq!(status.as_str().parse::<JobStatus>().ok(), Some(status));
        }
        assert!("done".parse::<JobStatus>().is_err());
    }

    #[test]
    fn the_legal_moves_are_these_and_no_others() {
        let legal: Vec<_> = JobStatus::ALL
            .into_iter()
            .flat_map(|from| JobStatus::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from.can_become(*to))
            .collect();
        assert_eq!(
            legal,
            [
                (Queued, Running),
                (Queued, Cancelled),
                (Running, Queued),
                (Running, Succeeded),
                (Running, Failed),
                (Running, Cancelled),
                (Running, Interrupted),
                (Failed, Queued),
                (Cancelled, Queued),
                (Interrupted, Queued),
            ]
        );
    }
}
