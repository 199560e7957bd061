//! `pawprint serve`: the settings are checked, then [`crate::app`] takes over.

use std::net::SocketAddr;

use anyhow::Context as _;

use super::{ExitStatus, output::Output};
use crate::{config::ServeConfig, memory_budget::set_up_allocator};

pub(super) fn run(config: ServeConfig) -> ExitStatus {
    let out = Output::new(false);
    let addresses = match config.listen.addresses() {
        Ok(addresses) => addresses,
        Err(error) => {
            let listen = &config.listen;
            out.error(format_args!("can't resolve {listen} (--listen, PAWPRINT_LISTEN): {error}"));
            return ExitStatus::Failed;
        }
    };
    if let Err(error) = config.validate(&addresses) {
        out.error(error);
        return ExitStatus::WrongUsage;
    }
    match start(config, &addresses) {
        Ok(()) => ExitStatus::Success,
        Err(error) => {
            out.error(format_args!("{error:#}"));
            ExitStatus::Failed
        }
    }
}

fn start(config: ServeConfig, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    set_up_allocator();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?
        .block_on(crate::app::serve(config, addresses))
}
