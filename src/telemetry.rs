//! The log: text or JSON lines on standard error. `RUST_LOG` filters it.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

/// Log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Readable text lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts the log of this process. A second call does nothing.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,hyper=warn"));
    // Colours are for terminals: a trainer's log is a file.
    let colours = io::stderr().is_terminal();
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
    };
    drop(started);
}
