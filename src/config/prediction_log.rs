//! Settings of the log of predictions: whether there is one, and how much of it is kept.

use std::time::Duration;

use clap::Args;

/// Maximum days that predictions are kept: a hundred years.
const MAX_DAYS: u64 = 36_500;

/// Settings of the log of predictions.
#[derive(Debug, Clone, Args)]
pub struct PredictionLogConfig {
    /// Keep a log of predictions: label, probability, time, API token and SHA-256 of each image
    #[arg(long, env = "PAWPRINT_PREDICTION_LOG")]
    pub prediction_log: bool,

    /// Days that logged predictions are kept
    #[arg(
        long,
        env = "PAWPRINT_PREDICTION_LOG_DAYS",
        default_value = "30",
        value_parser = clap::value_parser!(u64).range(1..=MAX_DAYS),
        value_name = "DAYS"
    )]
    pub prediction_log_days: u64,

    /// Maximum number of logged predictions; the oldest are deleted
    #[arg(
        long,
        env = "PAWPRINT_PREDICTION_LOG_MAX",
        default_value = "100000",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000),
        value_name = "N"
    )]
    pub prediction_log_max: u64,

    /// Keep the images of logged predictions too; needs --prediction-log
    #[arg(long, env = "PAWPRINT_PREDICTION_LOG_PHOTOS")]
    pub prediction_log_photos: bool,

    /// Maximum size of the images of all logged predictions, in bytes; the oldest are deleted
    #[arg(
        long,
        env = "PAWPRINT_PREDICTION_LOG_PHOTO_BYTES",
        default_value = "1073741824",
        value_parser = clap::value_parser!(u64).range(1..),
        value_name = "BYTES"
    )]
    pub prediction_log_photo_bytes: u64,
}

impl PredictionLogConfig {
    /// How long predictions are kept.
    #[must_use]
    pub const fn age(&self) -> Duration {
        Duration::from_secs(self.prediction_log_days * 24 * 3600)
    }
}
