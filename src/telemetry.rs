//! The log: lines for people or JSON for programs, on standard error. `RUST_LOG` filters it.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;

/// Starts the log of this process. A second call does nothing.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,hyper=warn"));
    // Colours are for terminals: a trainer's log is a file that people and scripts read.
    let colours = io::stderr().is_terminal();
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
    };
    drop(started);
}

/// An error and all its causes, in one line.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
