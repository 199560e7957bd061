//! Settings of the server: one struct, each field a flag and an environment variable.
//!
//! Made by `main` from the command line (or by a test by hand), checked once by
//! [`ServeConfig::validate`], then shared unchanged.

pub mod listen;

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use clap::Args;

use self::listen::Listen;
use crate::{
    device::processors,
    inference::overrides::TuningOverrides,
    memory_budget::{self, MemoryBudget},
    pretrained::Sources,
    telemetry::LogFormat,
    vision,
};

/// A trainer says that it is alive every ten seconds.
const TRAINER_SILENCE: Duration = Duration::from_secs(60);

/// Settings of `pawprint serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// Host and port to listen on, at every address of the host; port 0 picks a free one
    #[arg(
        long,
        env = "PAWPRINT_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "HOST:PORT"
    )]
    pub listen: Listen,

    /// Folder that holds the database, the images, the jobs and the models
    #[arg(long, env = "PAWPRINT_DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Token that requests must carry as `Authorization: Bearer …`
    #[arg(long, env = "PAWPRINT_API_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub api_token: Option<String>,

    /// Accept requests without a token on an address that other machines can reach
    #[arg(long, env = "PAWPRINT_ALLOW_ANONYMOUS")]
    pub allow_anonymous: bool,

    /// Names under which browsers reach this server while no API token is set; IP addresses, names
    /// without a dot and those in .local, .lan, .internal and .home.arpa are always allowed
    #[arg(long, env = "PAWPRINT_ALLOWED_HOSTS", value_delimiter = ',', value_name = "NAME")]
    pub allowed_hosts: Vec<String>,

    /// How the log is written
    #[arg(
        long,
        env = "PAWPRINT_LOG_FORMAT",
        value_enum,
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,

    /// Jobs that train at the same time; the others wait
    #[arg(long, env = "PAWPRINT_MAX_RUNNING_JOBS", default_value = "1", value_name = "N")]
    pub max_running_jobs: NonZeroUsize,

    /// Threads of each trainer [default: the processors this process may use]
    #[arg(long, env = "PAWPRINT_TRAINER_THREADS", value_name = "N")]
    pub trainer_threads: Option<NonZeroUsize>,

    /// Threads a prediction is computed with [default: measured when a model is loaded]
    #[arg(long, env = "PAWPRINT_INFERENCE_THREADS", value_name = "N")]
    pub inference_threads: Option<NonZeroUsize>,

    /// Images that are judged together when several wait [default: measured when a model is loaded]
    #[arg(long, env = "PAWPRINT_INFERENCE_BATCH", value_name = "N")]
    pub inference_batch: Option<NonZeroUsize>,

    /// Predictions that may be under way before more are refused
    #[arg(long, env = "PAWPRINT_QUEUE_CAPACITY", default_value = "64", value_name = "N")]
    pub queue_capacity: NonZeroUsize,

    /// Seconds that a prediction may wait for the model
    #[arg(long, env = "PAWPRINT_PREDICT_SECONDS", default_value = "30", value_name = "SECONDS")]
    pub predict_seconds: NonZeroU32,

    /// Largest image, in bytes
    #[arg(
        long,
        env = "PAWPRINT_MAX_IMAGE_BYTES",
        default_value = "33554432",
        value_name = "BYTES"
    )]
    pub max_image_bytes: u64,

    /// Largest image, in pixels
    #[arg(long, env = "PAWPRINT_MAX_IMAGE_PIXELS", default_value_t = vision::Limits::default().max_pixels, value_name = "PIXELS")]
    pub max_image_pixels: u64,

    /// Largest archive, in bytes as it is sent
    #[arg(
        long,
        env = "PAWPRINT_MAX_ARCHIVE_BYTES",
        default_value = "17179869184",
        value_name = "BYTES"
    )]
    pub max_archive_bytes: u64,

    /// Most entries of an archive
    #[arg(long, env = "PAWPRINT_MAX_ARCHIVE_ENTRIES", default_value = "500000", value_name = "N")]
    pub max_archive_entries: u64,

    /// Most bytes that an archive may unpack to
    #[arg(
        long,
        env = "PAWPRINT_MAX_UNPACKED_BYTES",
        default_value = "68719476736",
        value_name = "BYTES"
    )]
    pub max_unpacked_bytes: u64,

    /// Most images of one prediction request
    #[arg(long, env = "PAWPRINT_MAX_PREDICT_IMAGES", default_value = "64", value_name = "N")]
    pub max_predict_images: NonZeroUsize,

    /// Memory for request bodies and for decoding images, in bytes [default: a quarter of the
    /// machine's or the container's memory]
    #[arg(long, env = "PAWPRINT_MEMORY_BUDGET", value_parser = clap::value_parser!(u64).range(memory_budget::MIN_BYTES..), value_name = "BYTES")]
    pub memory_budget: Option<u64>,

    /// Seconds that requests and trainers get to end when the server is asked to stop; Docker kills
    /// a container after ten
    #[arg(long, env = "PAWPRINT_SHUTDOWN_SECONDS", default_value = "8", value_name = "SECONDS")]
    pub shutdown_seconds: u64,

    /// Where VGG16 weights are downloaded from (tests name a server of their own)
    #[arg(skip)]
    pub weights: Sources,

    /// How long a trainer may be silent, which says that it is alive every ten seconds (tests are
    /// less patient)
    #[arg(skip = TRAINER_SILENCE)]
    pub trainer_silence: Duration,

    /// The program that trains; this one where it is left out (tests name the built binary)
    #[arg(skip)]
    pub trainer_program: Option<PathBuf>,
}

/// Settings that don't go together.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Anybody on the network could use the server.
    #[error(
        "{0} can be reached from other machines, and no token is set: set PAWPRINT_API_TOKEN, or say --allow-anonymous (PAWPRINT_ALLOW_ANONYMOUS=true) if anybody may use it"
    )]
    Anonymous(SocketAddr),
    /// A token that no client could send.
    #[error("PAWPRINT_API_TOKEN must be printable ASCII without spaces, and not empty")]
    Token,
}

impl ServeConfig {
    /// Checks what single flags can't; `addresses` are those that `listen` means.
    ///
    /// # Errors
    /// A combination that makes no sense or isn't safe, naming the variable.
    pub fn validate(&self, addresses: &[SocketAddr]) -> Result<(), ConfigError> {
        let open = addresses.iter().find(|address| !address.ip().is_loopback());
        match (&self.api_token, open) {
            (None, Some(open)) if !self.allow_anonymous => Err(ConfigError::Anonymous(*open)),
            (Some(token), _)
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Err(ConfigError::Token)
            }
            _ => Ok(()),
        }
    }

    /// Threads of each trainer.
    #[must_use]
    pub fn trainer_threads(&self) -> usize {
        self.trainer_threads.unwrap_or_else(processors).get()
    }

    /// The memory that requests share.
    #[must_use]
    pub fn memory_budget(&self) -> MemoryBudget {
        MemoryBudget::new(self.memory_budget.unwrap_or_else(memory_budget::default_bytes))
    }

    /// What is set of how models run; the rest is measured.
    #[must_use]
    pub const fn tuning_overrides(&self) -> TuningOverrides {
        TuningOverrides { threads: self.inference_threads, batch: self.inference_batch }
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
    fn a_token_that_no_client_could_send_is_refused() {
        for token in ["", "two words", "naïve"] {
            assert!(config(&["--api-token", token]).validate(&[]).is_err(), "{token:?}");
        }
    }
}
