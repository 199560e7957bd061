//! Settings of the server: one struct, each field a flag, an environment variable and a line of
//! the settings file.
//!
//! Created by `main` from the command line (or directly by a test), checked once by
//! [`ServeConfig::validate`], then shared unchanged.

pub mod cluster;
pub mod file;
pub mod inference;
pub mod listen;
pub mod origin;
pub mod prediction_log;
pub mod promotion;
pub mod token_file;

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use tokio::sync::Semaphore;

use self::{
    cluster::ClusterConfig, inference::InferenceConfig, listen::Listen, origin::Origin,
    prediction_log::PredictionLogConfig, promotion::PromotionConfig,
};
use crate::{
    device::processors,
    domain::placement::ExecutorKind,
    memory_budget::{self, MemoryBudget},
    pretrained::Sources,
    telemetry::LogFormat,
    vision,
};

/// A trainer reports that it is alive every ten seconds.
const TRAINER_SILENCE: Duration = Duration::from_secs(60);

/// Settings of `pawprint serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// Host and port to listen on (a name: on all of its addresses); port 0 picks a free port
    #[arg(
        long,
        env = "PAWPRINT_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "HOST:PORT"
    )]
    pub listen: Listen,

    /// Data directory for the database, images, jobs and models
    #[arg(long, env = "PAWPRINT_DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// API token that requests must send as `Authorization: Bearer …`; may be repeated
    #[arg(long, env = "PAWPRINT_API_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub api_token: Vec<String>,

    /// File with further API tokens, one per line
    #[arg(long, env = "PAWPRINT_API_TOKEN_FILE", value_name = "FILE")]
    pub api_token_file: Option<PathBuf>,

    /// Append a line of JSON to this file for each request that changes something
    #[arg(long, env = "PAWPRINT_AUDIT_LOG", value_name = "FILE")]
    pub audit_log: Option<PathBuf>,

    /// Allow unauthenticated requests on a non-loopback address
    #[arg(long, env = "PAWPRINT_ALLOW_ANONYMOUS")]
    pub allow_anonymous: bool,

    /// Host names accepted without an API token, in addition to IP addresses, names without a dot, and names
    /// in .local, .lan, .internal and .home.arpa
    #[arg(long, env = "PAWPRINT_ALLOWED_HOSTS", value_delimiter = ',', value_name = "NAME")]
    pub allowed_hosts: Vec<String>,

    /// Origins of other sites whose pages may use the API, such as `https://app.example.org`
    #[arg(long, env = "PAWPRINT_CORS_ORIGINS", value_delimiter = ',', value_name = "ORIGIN")]
    pub cors_origins: Vec<Origin>,

    /// Certificate for HTTPS, in PEM, followed by those of its issuers; needs --tls-key
    #[arg(long, env = "PAWPRINT_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert, in PEM
    #[arg(long, env = "PAWPRINT_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Maximum open connections; further ones wait [default: the limit of open files less 256, at most 8192]
    #[arg(long, env = "PAWPRINT_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,

    /// Maximum API requests per second of each client address; more are rejected with 429 [default:
    /// unlimited]
    #[arg(long, env = "PAWPRINT_RATE_LIMIT", value_name = "N")]
    pub rate_limit: Option<NonZeroU32>,

    /// Maximum concurrent uploads; more are rejected with 429
    #[arg(long, env = "PAWPRINT_MAX_UPLOADS", default_value = "16", value_name = "N")]
    pub max_uploads: NonZeroUsize,

    /// Log format
    #[arg(
        long,
        env = "PAWPRINT_LOG_FORMAT",
        value_enum,
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,

    /// Maximum number of jobs training at the same time
    #[arg(long, env = "PAWPRINT_MAX_RUNNING_JOBS", default_value = "1", value_name = "N")]
    pub max_running_jobs: NonZeroUsize,

    /// Threads per trainer [default: all available CPUs; on a cluster, those of this machine]
    #[arg(long, env = "PAWPRINT_TRAINER_THREADS", value_name = "N")]
    pub trainer_threads: Option<NonZeroUsize>,

    /// Maximum concurrent prediction requests; more are rejected with 429
    #[arg(long, env = "PAWPRINT_QUEUE_CAPACITY", default_value = "64", value_name = "N")]
    pub queue_capacity: NonZeroUsize,

    /// Prediction timeout in seconds, queueing and inference included
    #[arg(long, env = "PAWPRINT_PREDICT_SECONDS", default_value = "30", value_name = "SECONDS")]
    pub predict_seconds: NonZeroU32,

    /// Maximum image size, in bytes
    #[arg(
        long,
        env = "PAWPRINT_MAX_IMAGE_BYTES",
        default_value = "33554432",
        value_name = "BYTES"
    )]
    pub max_image_bytes: u64,

    /// Maximum image size, in pixels
    #[arg(long, env = "PAWPRINT_MAX_IMAGE_PIXELS", default_value_t = vision::Limits::default().max_pixels, value_name = "PIXELS")]
    pub max_image_pixels: u64,

    /// Maximum size of an uploaded archive or form, in bytes
    #[arg(
        long,
        env = "PAWPRINT_MAX_ARCHIVE_BYTES",
        default_value = "17179869184",
        value_name = "BYTES"
    )]
    pub max_archive_bytes: u64,

    /// Maximum number of archive entries or form files
    #[arg(long, env = "PAWPRINT_MAX_ARCHIVE_ENTRIES", default_value = "500000", value_name = "N")]
    pub max_archive_entries: u64,

    /// Maximum uncompressed size of an archive, in bytes
    #[arg(
        long,
        env = "PAWPRINT_MAX_UNPACKED_BYTES",
        default_value = "68719476736",
        value_name = "BYTES"
    )]
    pub max_unpacked_bytes: u64,

    /// Maximum images per prediction request
    #[arg(long, env = "PAWPRINT_MAX_PREDICT_IMAGES", default_value = "64", value_name = "N")]
    pub max_predict_images: NonZeroUsize,

    /// Memory budget for request bodies and image decoding, in bytes [default: a quarter of the
    /// memory of the machine or container]
    #[arg(long, env = "PAWPRINT_MEMORY_BUDGET", value_parser = clap::value_parser!(u64).range(memory_budget::MIN_BYTES..), value_name = "BYTES")]
    pub memory_budget: Option<u64>,

    /// Allow webhooks to be sent to addresses that are not public, such as those of this machine and its
    /// networks
    #[arg(long, env = "PAWPRINT_WEBHOOK_ALLOW_PRIVATE")]
    pub webhook_allow_private: bool,

    /// Shutdown grace period for requests and trainers, in seconds; Docker kills a container ten
    /// seconds after `docker stop`
    #[arg(long, env = "PAWPRINT_SHUTDOWN_SECONDS", default_value = "8", value_name = "SECONDS")]
    pub shutdown_seconds: u64,

    /// When a new model replaces the one in service.
    #[command(flatten)]
    pub promotion: PromotionConfig,

    /// How predictions are computed.
    #[command(flatten)]
    pub inference: InferenceConfig,

    /// What is kept of predictions.
    #[command(flatten)]
    pub prediction_log: PredictionLogConfig,

    /// Where jobs train.
    #[command(flatten)]
    pub cluster: ClusterConfig,

    /// Where VGG16 weights are downloaded from (tests set their own server)
    #[arg(skip)]
    pub weights: Sources,

    /// How long a trainer may be silent; it reports that it is alive every ten seconds (tests set a
    /// shorter time)
    #[arg(skip = TRAINER_SILENCE)]
    pub trainer_silence: Duration,

    /// The program that trains; default: this one (tests set the built binary)
    #[arg(skip)]
    pub trainer_program: Option<PathBuf>,
}

/// Settings that can't be combined.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Anyone on the network could use the server.
    #[error(
        "{0} is reachable from other machines but no API token is set: set PAWPRINT_API_TOKEN, or pass --allow-anonymous (PAWPRINT_ALLOW_ANONYMOUS=true) to allow unauthenticated access"
    )]
    Anonymous(SocketAddr),
    /// A token that clients can't send.
    #[error(
        "an API token (--api-token, PAWPRINT_API_TOKEN, or api-token in the settings file) must be printable ASCII without spaces, and not empty"
    )]
    Token,
    /// The file of tokens can't be used.
    #[error(transparent)]
    TokenFile(#[from] token_file::Error),
    /// Half of what TLS needs.
    #[error("{0} is missing: HTTPS needs both --tls-cert and --tls-key")]
    Tls(&'static str),
    /// The nodes of a cluster can't know where this server is.
    #[error(
        "--executor {0} needs --cluster-server (PAWPRINT_CLUSTER_SERVER): the URL of this server as the nodes of the cluster reach it"
    )]
    ClusterServer(ExecutorKind),
    /// Images of no predictions.
    #[error(
        "--prediction-log-photos (PAWPRINT_PREDICTION_LOG_PHOTOS) needs --prediction-log (PAWPRINT_PREDICTION_LOG)"
    )]
    PhotosWithoutLog,
}

impl ServeConfig {
    /// Checks combinations of flags; `addresses` are those that `listen` resolves to.
    ///
    /// # Errors
    /// A combination that is invalid or unsafe, naming the variable.
    pub fn validate(&self, addresses: &[SocketAddr]) -> Result<(), ConfigError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => return Err(ConfigError::Tls("--tls-key (PAWPRINT_TLS_KEY)")),
            (None, Some(_)) => return Err(ConfigError::Tls("--tls-cert (PAWPRINT_TLS_CERT)")),
            _ => {}
        }
        let ClusterConfig { executor, cluster_server, .. } = &self.cluster;
        if *executor != ExecutorKind::Local && cluster_server.is_none() {
            return Err(ConfigError::ClusterServer(*executor));
        }
        if self.prediction_log.prediction_log_photos && !self.prediction_log.prediction_log {
            return Err(ConfigError::PhotosWithoutLog);
        }
        let is_open = self.api_tokens()?.is_empty() && !self.allow_anonymous;
        match addresses.iter().find(|address| !address.ip().is_loopback()) {
            Some(reachable) if is_open => Err(ConfigError::Anonymous(*reachable)),
            _ => Ok(()),
        }
    }

    /// Reads the file of API tokens, so that it is not read again: it may be a pipe.
    ///
    /// # Errors
    /// As [`ServeConfig::api_tokens`].
    pub fn read_token_file(&mut self) -> Result<(), ConfigError> {
        self.api_token = self.api_tokens()?;
        self.api_token_file = None;
        Ok(())
    }

    /// The API tokens of the settings and of their file.
    ///
    /// # Errors
    /// A token that no client could send, or a file that can't be read or has no token.
    pub fn api_tokens(&self) -> Result<Vec<String>, ConfigError> {
        let mut tokens = self.api_token.clone();
        if !tokens.iter().all(|token| token_file::can_be_sent(token)) {
            return Err(ConfigError::Token);
        }
        if let Some(file) = &self.api_token_file {
            tokens.extend(token_file::read(file)?);
        }
        Ok(tokens)
    }

    /// Prediction requests in progress; at most as many as can be counted.
    #[must_use]
    pub fn queue_capacity(&self) -> usize {
        self.queue_capacity.get().min(Semaphore::MAX_PERMITS)
    }

    /// Concurrent uploads; at most as many as can be counted.
    #[must_use]
    pub fn max_uploads(&self) -> usize {
        self.max_uploads.get().min(Semaphore::MAX_PERMITS)
    }

    /// Threads of each trainer.
    #[must_use]
    pub fn trainer_threads(&self) -> usize {
        self.trainer_threads.unwrap_or_else(processors).get()
    }

    /// The memory budget that all requests share.
    #[must_use]
    pub fn memory_budget(&self) -> MemoryBudget {
        MemoryBudget::new(self.memory_budget.unwrap_or_else(memory_budget::default_bytes))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        config: ServeConfig,
    }

    fn config(arguments: &[&str]) -> ServeConfig {
        Command::parse_from(["pawprint"].iter().chain(arguments)).config
    }

    #[test]
    fn an_open_address_needs_a_token_or_a_word() {
        let validate = |arguments: &[&str]| {
            let config = config(arguments);
            config.validate(&config.listen.addresses().unwrap())
        };
        assert!(validate(&[]).is_ok());
        assert!(validate(&["--listen", "[::1]:0"]).is_ok());
        assert!(validate(&["--listen", "localhost:0"]).is_ok());
        assert!(validate(&["--listen", "0.0.0.0:80"]).is_err());
        assert!(validate(&["--listen", "[::]:80"]).is_err());
        assert!(validate(&["--listen", "0.0.0.0:80", "--allow-anonymous"]).is_ok());
        assert!(validate(&["--listen", "0.0.0.0:80", "--api-token", "s3cret"]).is_ok());
    }

    #[test]
    fn one_open_address_of_several_is_enough_to_need_a_token() {
        let addresses = ["127.0.0.1:80", "10.0.0.7:80"].map(|it| it.parse().unwrap());
        assert!(config(&[]).validate(&addresses[..1]).is_ok());
        let error = config(&[]).validate(&addresses).unwrap_err();
        assert!(error.to_string().starts_with("10.0.0.7:80 "), "{error}");
    }

    #[test]
    fn a_stop_takes_less_than_docker_waits() {
        assert!(config(&[]).shutdown_seconds < 10);
    }

    #[test]
    fn a_certificate_needs_its_key_and_a_key_its_certificate() {
        let validate = |arguments: &[&str]| config(arguments).validate(&[]);
        assert!(validate(&["--tls-cert", "a", "--tls-key", "b"]).is_ok());
        for (flag, missing) in [("--tls-cert", "--tls-key"), ("--tls-key", "--tls-cert")] {
            let error = validate(&[flag, "a"]).unwrap_err().to_string();
            assert!(error.starts_with(missing), "{error}");
        }
    }

    #[test]
    fn a_token_that_no_client_could_send_is_refused() {
        for token in ["", "two words", "naïve"] {
            assert!(config(&["--api-token", token]).validate(&[]).is_err(), "{token:?}");
        }
    }
}
