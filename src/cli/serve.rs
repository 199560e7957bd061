//! `pawprint serve`: the settings are checked, then [`crate::app`] takes over.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
};

use anyhow::Context as _;
use clap::Args;

use super::{ExitStatus, output::Output, settings::SettingsFileArg};
use crate::{
    config::{ServeConfig, file::command},
    error_chain::chain,
    memory_budget::set_up_allocator,
    tls::Tls,
};

/// Options of `pawprint serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    file: SettingsFileArg,

    #[command(flatten)]
    config: ServeConfig,
}

impl Serve {
    pub(super) fn run(mut self) -> ExitStatus {
        let out = Output::new(false);
        note_unknown_variables(out);
        if let Err(error) = self.config.read_token_file() {
            out.error(error);
            return ExitStatus::WrongUsage;
        }
        let addresses = match check(&self.config) {
            Ok(addresses) => addresses,
            Err((status, reason)) => {
                out.error(reason);
                return status;
            }
        };
        let status = match start(self.config, &addresses) {
            Ok(()) => ExitStatus::Success,
            Err(error) => {
                out.error(format_args!("{error:#}"));
                ExitStatus::Failed
            }
        };
        end(status)
    }
}

/// Ends the process. A model's threads may still compute or compile; destructors of libtorch's and
/// OpenVINO's libraries, which `exit` runs, would take away what they use, and the process would crash.
fn end(status: ExitStatus) -> ! {
    let _ = io::stdout().flush();
    // SAFETY: no data is lost: files are synced where they are written, and standard error has no buffer.
    unsafe { libc::_exit(status as i32) }
}

/// Variables that are not settings of the server; the last is for tests and benchmarks.
const OTHER_VARIABLES: [&str; 3] = ["PAWPRINT_CONFIG", "PAWPRINT_SERVER", "PAWPRINT_REAL_DATA"];

/// Names variables of the environment that look like settings and are none: probably misspelt.
pub(super) fn note_unknown_variables(out: Output) {
    let command = command();
    let is_known = |name: &str| {
        OTHER_VARIABLES.contains(&name)
            || command.get_arguments().filter_map(clap::Arg::get_env).any(|known| known == name)
    };
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("PAWPRINT_") && !is_known(&name) {
            out.note(format_args!("{name} is not a setting, and is ignored"));
        }
    }
}

/// The addresses that a server with these settings listens on; or why it would not start.
pub(super) fn check(config: &ServeConfig) -> Result<Vec<SocketAddr>, (ExitStatus, String)> {
    let addresses = config.listen.addresses().map_err(|error| {
        let listen = &config.listen;
        let reason = format!("can't resolve {listen} (--listen, PAWPRINT_LISTEN): {error}");
        (ExitStatus::Failed, reason)
    })?;
    config.validate(&addresses).map_err(|error| (ExitStatus::WrongUsage, error.to_string()))?;
    if let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) {
        Tls::load(certificate, key).map_err(|error| (ExitStatus::Failed, chain(&error)))?;
    }
    Ok(addresses)
}

fn start(config: ServeConfig, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    set_up_allocator();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?
        .block_on(crate::app::serve(config, addresses))
}
