//! Settings of where jobs train: on the server's machine, or on a cluster.

use std::{num::NonZeroU64, path::PathBuf};

use clap::Args;
use reqwest::Url;

use crate::domain::placement::ExecutorKind;

/// Maximum seconds that a job waits for a node: a year.
const MAX_WAIT: u64 = 365 * 24 * 3600;

/// Settings of the cluster.
#[derive(Debug, Clone, Args)]
pub struct ClusterConfig {
    /// Where jobs train
    #[arg(
        long,
        env = "PAWPRINT_EXECUTOR",
        value_enum,
        default_value = "local",
        value_name = "EXECUTOR"
    )]
    pub executor: ExecutorKind,

    /// URL of this server as the nodes of the cluster reach it; required with --executor ray and slurm
    #[arg(long, env = "PAWPRINT_CLUSTER_SERVER", value_parser = http_url, value_name = "URL")]
    pub cluster_server: Option<Url>,

    /// Path of the pawprint binary on the nodes [default: its path on this machine]
    #[arg(long, env = "PAWPRINT_CLUSTER_PROGRAM", value_name = "FILE")]
    pub cluster_program: Option<PathBuf>,

    /// Folder on each node for images, weights and jobs in progress
    #[arg(
        long,
        env = "PAWPRINT_CLUSTER_CACHE",
        default_value = "/var/tmp/pawprint",
        value_name = "DIR"
    )]
    pub cluster_cache: PathBuf,

    /// GPUs of each job that may use one
    #[arg(long, env = "PAWPRINT_CLUSTER_GPUS", default_value = "0", value_name = "N")]
    pub cluster_gpus: u32,

    /// Memory of each job, in bytes [default: by recipe and batch size]
    #[arg(long, env = "PAWPRINT_CLUSTER_MEMORY", value_name = "BYTES")]
    pub cluster_memory: Option<NonZeroU64>,

    /// How long a job may wait for a node, in seconds
    #[arg(
        long,
        env = "PAWPRINT_CLUSTER_WAIT",
        default_value = "900",
        value_parser = clap::value_parser!(u64).range(1..=MAX_WAIT),
        value_name = "SECONDS"
    )]
    pub cluster_wait: u64,

    /// URL of Ray's dashboard, which has its Jobs API
    #[arg(
        long,
        env = "PAWPRINT_RAY_ADDRESS",
        default_value = "http://127.0.0.1:8265",
        value_parser = http_url,
        value_name = "URL"
    )]
    pub ray_address: Url,

    /// File with Ray's authentication token
    #[arg(long, env = "PAWPRINT_RAY_TOKEN_FILE", value_name = "FILE")]
    pub ray_token_file: Option<PathBuf>,

    /// Further option for sbatch, such as `--partition=gpu`; may be repeated
    #[arg(
        long,
        env = "PAWPRINT_SLURM_OPTIONS",
        value_delimiter = ' ',
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    pub slurm_options: Vec<String>,
}

/// A URL of a server: paths are appended to it.
fn http_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("use a URL such as http://head.example.org:8265".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a password is not supported".to_owned());
    }
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_can_be_appended_to_an_address() {
        let joined = |text| http_url(text).unwrap().join("api/jobs/").unwrap().to_string();
        assert_eq!(joined("http://head:8265"), "http://head:8265/api/jobs/");
        assert_eq!(joined("https://x.org/ray?a=b#c"), "https://x.org/ray/api/jobs/");
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in ["", "head:8265", "ftp://head", "http://", "http://me:secret@head"] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }
}
