//! `pawprint trainer`: trains one job, in its folder or for a server on another machine.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use reqwest::Url;

/// Options of `pawprint trainer`.
#[derive(Debug, Args)]
pub(super) struct Trainer {
    /// Folder of the job
    #[arg(required_unless_present = "from")]
    job_dir: Option<PathBuf>,

    /// Evaluate this model on the images of the job instead
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    compare: Option<PathBuf>,

    /// Report each step and the peak memory
    #[arg(long, conflicts_with_all = ["compare", "from"])]
    probe: bool,

    /// Train the job at this URL of a server, which is another machine's
    #[arg(long, value_name = "URL", conflicts_with = "job_dir", requires = "cache")]
    from: Option<Url>,

    /// Folder on this machine for images, weights and jobs in progress
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl Trainer {
    pub(super) fn run(&self) -> ExitCode {
        match (&self.job_dir, &self.from, &self.cache) {
            (Some(folder), ..) => crate::training::run(folder, self.compare.as_deref(), self.probe),
            (None, Some(url), Some(cache)) => crate::agent::run(url, cache),
            _ => unreachable!("clap requires a folder, or a URL and a cache"),
        }
    }
}
