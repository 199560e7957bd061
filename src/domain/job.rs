//! Jobs: their states, the legal moves between them, and what a trainer reports.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    JobId, ModelId, Name, Timestamp,
    dataset::Digest,
    excerpt::Excerpt,
    parameters::Params,
    recipe::{Precision, Recipe},
};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Waiting for its turn.
    Queued,
    /// A trainer works on it.
    Running,
    /// It made a model.
    Succeeded,
    /// It can't go on as it is.
    Failed,
    /// A person ended it.
    Cancelled,
    /// Its trainer died.
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

    /// The word of the API and the database.
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
            // Back to the queue: the server shuts down, or the trainer died and is tried again.
            Self::Running => !matches!(next, Self::Running),
            // A person resumes it.
            Self::Failed | Self::Cancelled | Self::Interrupted => matches!(next, Self::Queued),
            Self::Succeeded => false,
        }
    }

    /// Whether the job is over, unless a person resumes it.
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

/// A text that names no status.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{}` is not a job status: use queued, running, succeeded, failed, cancelled or interrupted",
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

/// What a person asked of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlRequest {
    /// End as `cancelled`, within one batch.
    Cancel,
    /// End training within one batch, evaluate and keep the best epoch so far.
    Stop,
}

/// What a trainer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Downloading the weights to begin with.
    Downloading,
    /// Reading and decoding images.
    Preparing,
    /// Computing what the frozen part of the network makes of each image.
    Extracting,
    /// Training the head alone, before fine-tuning.
    TrainingHead,
    /// Optimizer steps.
    Training,
    /// Judging the epoch on the validation split.
    Validating,
    /// Judging the best epoch on the test split.
    Evaluating,
    /// Writing the model file.
    Saving,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// What the trainer is doing.
    pub phase: Phase,
    /// The epoch under way, from 1; 0 before the first.
    pub epoch: u32,
    /// Epochs in all, where nothing stops it earlier.
    pub epochs: u32,
    /// Steps done in this phase: bytes while downloading, images while preparing and extracting,
    /// optimizer steps while training, passes over some images while judging.
    pub step: u64,
    /// Steps of this phase in all.
    pub steps: u64,
    /// Seconds until the job is done, as far as one can tell; before the first epoch, until this
    /// phase is.
    pub eta_seconds: Option<f64>,
}

/// The best epoch so far: the one of the lowest validation loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BestEpoch {
    /// Its number, from 1; 0 where fine-tuning has not beaten what it began with.
    pub epoch: u32,
    /// Its loss on the validation split.
    pub val_loss: f64,
    /// Its accuracy on the validation split.
    pub val_accuracy: f64,
}

/// Why a job ended without success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// Stable and snake_case, for programs.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// A job as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its unique name.
    pub name: Name,
    /// How it trains.
    pub recipe: Recipe,
    /// Name of the dataset it trains on.
    pub dataset: Name,
    /// Version of the dataset that it froze.
    pub dataset_version: Digest,
    /// Its parameters, resolved.
    pub params: Params,
    /// Where it stands.
    pub status: JobStatus,
    /// How far it has come; absent before its first start.
    pub progress: Option<Progress>,
    /// Its best epoch so far.
    pub best: Option<BestEpoch>,
    /// The device it trains on, once it has started.
    pub device: Option<String>,
    /// The precision it trains in, once it has started.
    pub precision: Option<Precision>,
    /// How often a trainer was started for it since a person last asked for it.
    pub attempts: u32,
    /// Why it ended without success.
    pub error: Option<JobError>,
    /// The model it made.
    pub model_id: Option<ModelId>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its first trainer started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
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
