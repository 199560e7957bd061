//! What a cluster does for us: it runs one command with resources, says how that is, and stops it.

use anyhow::Context as _;

use super::{
    ray::Ray,
    slurm::Slurm,
    submission::{ClusterError, Status, Submission},
};
use crate::{
    config::cluster::ClusterConfig,
    domain::{AttemptId, placement::ExecutorKind},
};

/// A cluster.
#[derive(Debug)]
pub enum Cluster {
    /// Ray.
    Ray(Ray),
    /// Slurm.
    Slurm(Slurm),
}

impl Cluster {
    /// The cluster of these settings; `None` if jobs train on the server.
    ///
    /// # Errors
    /// The file of its token can't be read, or no HTTP client can be created.
    pub fn new(config: &ClusterConfig) -> anyhow::Result<Option<Self>> {
        match config.executor {
            ExecutorKind::Local => Ok(None),
            ExecutorKind::Ray => {
                let file = config.ray_token_file.as_deref();
                let ray = Ray::new(config.ray_address.clone(), file);
                Ok(Some(Self::Ray(ray.context("--ray-token-file (PAWPRINT_RAY_TOKEN_FILE)")?)))
            }
            ExecutorKind::Slurm => Ok(Some(Self::Slurm(Slurm::new(config.slurm_options.clone())))),
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ExecutorKind {
        match self {
            Self::Ray(_) => ExecutorKind::Ray,
            Self::Slurm(_) => ExecutorKind::Slurm,
        }
    }

    /// Starts a trainer as soon as there is place for it, once, however often this is called for the
    /// same attempt; returns the cluster's id.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn submit(&self, submission: &Submission) -> Result<String, ClusterError> {
        match self {
            Self::Ray(ray) => ray.submit(submission).await,
            Self::Slurm(slurm) => slurm.submit(submission).await,
        }
    }

    /// How the trainer with that id is.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn status(&self, id: &str) -> Result<Status, ClusterError> {
        match self {
            Self::Ray(ray) => ray.status(id).await,
            Self::Slurm(slurm) => slurm.status(id).await,
        }
    }

    /// Asks for the end of the trainer with that id.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn stop(&self, id: &str) -> Result<(), ClusterError> {
        match self {
            Self::Ray(ray) => ray.stop(id).await,
            Self::Slurm(slurm) => slurm.stop(id).await,
        }
    }

    /// The cluster's id of an attempt, if that is known before it is submitted.
    #[must_use]
    pub fn id_of(&self, attempt: AttemptId) -> Option<String> {
        match self {
            Self::Ray(_) => Some(attempt.to_string()),
            Self::Slurm(_) => None,
        }
    }

    /// Page of the trainer with that id on the cluster's dashboard.
    #[must_use]
    pub fn page(&self, id: &str) -> Option<String> {
        match self {
            Self::Ray(ray) => Some(ray.page(id)),
            Self::Slurm(_) => None,
        }
    }
}
