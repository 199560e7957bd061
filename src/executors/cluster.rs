//! What a cluster does for us: it runs one command with resources, says how that is, and stops it.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{attempts::Token, ray::Ray, slurm::Slurm};
use crate::{
    config::cluster::ClusterConfig,
    domain::{AttemptId, Name, placement::ExecutorKind},
};

/// A trainer to be started on a cluster.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The attempt: its id is used once.
    pub attempt: AttemptId,
    /// Name of the job.
    pub name: Name,
    /// The binary, on the node.
    pub program: PathBuf,
    /// Where the trainer fetches its job.
    pub url: String,
    /// The folder for images, weights and jobs in progress, on the node.
    pub cache: PathBuf,
    /// What the trainer presents to the server.
    pub token: Token,
    /// What it needs.
    pub resources: Resources,
}

impl Submission {
    /// The command line of the trainer, for a shell.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { program, url, cache, .. } = self;
        let [program, url, cache] =
            [&program.to_string_lossy(), &**url, &cache.to_string_lossy()].map(quoted);
        // Replaces the shell: who stops the shell must stop the trainer.
        format!("exec {program} trainer --from {url} --cache {cache}")
    }
}

/// What a trainer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// CPUs.
    pub cpus: usize,
    /// GPUs.
    pub gpus: u32,
    /// Bytes.
    pub memory: u64,
}

impl std::fmt::Display for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpus, gpus, memory } = self;
        let several = |n: usize| if n == 1 { "" } else { "s" };
        write!(f, "{cpus} CPU{}, ", several(*cpus))?;
        if *gpus > 0 {
            write!(f, "{gpus} GPU{}, ", several(*gpus as usize))?;
        }
        write!(f, "{:.1} GB of memory", *memory as f64 / 1e9)
    }
}

/// What a cluster says of a trainer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It doesn't know it.
    Unknown,
    /// It waits, and maybe why.
    Waiting(Option<String>),
    /// It runs.
    Running,
    /// It has ended, and maybe how.
    Ended(Option<String>),
}

/// Why a cluster doesn't do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// It can't be reached, or doesn't answer: whether it has done it is unknown.
    #[error("{0}")]
    Unreachable(String),
    /// It refuses; asking again would not help.
    #[error("{0}")]
    Refused(String),
}

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

    /// Page of the trainer with that id on the cluster's dashboard.
    #[must_use]
    pub fn page(&self, id: &str) -> Option<String> {
        match self {
            Self::Ray(ray) => Some(ray.page(id)),
            Self::Slurm(_) => None,
        }
    }
}

/// A word of a shell's command line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_as_they_are() {
        let word = "a 'b' $c \"d\"; \\e";
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", quoted(word))])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
    }
}
