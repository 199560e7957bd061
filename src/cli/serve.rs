//! `pawprint serve`: the settings are checked, then [`crate::app`] takes over.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;

use super::{ExitStatus, output::Output, settings::SettingsFileArg};
use crate::{config::ServeConfig, error_chain::chain, memory_budget::set_up_allocator, tls::Tls};

/// Options of `pawprint serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    file: SettingsFileArg,

    #[command(flatten)]
    config: ServeConfig,
}

impl Serve {
    pub(super) fn run(self) -> ExitStatus {
        let out = Output::new(false);
        let addresses = match check(&self.config) {
            Ok(addresses) => addresses,
            Err((status, reason)) => {
                out.error(reason);
                return status;
            }
        };
        match start(self.config, &addresses) {
            Ok(()) => ExitStatus::Success,
            Err(error) => {
                out.error(format_args!("{error:#}"));
                ExitStatus::Failed
            }
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
