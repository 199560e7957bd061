//! Where the trainer of a job runs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::AttemptId;

/// What starts trainers.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorKind {
    /// The server, on its own machine
    #[default]
    Local,
    /// A Ray cluster, through its Jobs API
    Ray,
    /// A Slurm cluster, through `sbatch`, `squeue` and `scancel`
    Slurm,
}

impl ExecutorKind {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ray => "ray",
            Self::Slurm => "slurm",
        }
    }

    /// The name in sentences.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Local => "this machine",
            Self::Ray => "Ray",
            Self::Slurm => "Slurm",
        }
    }
}

impl fmt::Display for ExecutorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A string that names no executor.
#[derive(Debug, thiserror::Error)]
#[error("unknown executor; use local, ray or slurm")]
pub struct UnknownExecutor;

impl FromStr for ExecutorKind {
    type Err = UnknownExecutor;

    fn from_str(text: &str) -> Result<Self, UnknownExecutor> {
        let all = [Self::Local, Self::Ray, Self::Slurm];
        all.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownExecutor)
    }
}

/// State of a trainer on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlacementState {
    /// Not yet accepted by the cluster.
    Submitting,
    /// Waiting for a node.
    Waiting,
    /// The trainer runs.
    Running,
    /// The trainer has ended, or was given up.
    Ended,
}

/// Where the trainer of a job runs, or ran last, on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Placement {
    /// The cluster's kind.
    pub executor: ExecutorKind,
    /// State of the trainer.
    pub state: PlacementState,
    /// Id of the attempt.
    #[schema(value_type = String)]
    pub attempt: AttemptId,
    /// Id on the cluster: Ray's submission id, Slurm's job number; null before it is submitted.
    pub id: Option<String>,
    /// Host name of the node; null before the trainer runs.
    pub node: Option<String>,
    /// Page of the cluster's dashboard.
    pub url: Option<String>,
    /// What it waits for.
    pub message: Option<String>,
}
