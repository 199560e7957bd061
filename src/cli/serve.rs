//! `pawprint serve`: the settings are checked, then [`crate::app`] takes over.

use anyhow::Context as _;

use super::{Ending, output::Output};
use crate::config::ServeConfig;

pub(super) fn run(config: ServeConfig) -> Ending {
    let out = Output::new(false);
    if let Err(error) = config.validate() {
        out.error(error);
        return Ending::WrongUsage;
    }
    match start(config) {
        Ok(()) => Ending::Success,
        Err(error) => {
            out.error(format_args!("{error:#}"));
            Ending::Failed
        }
    }
}

fn start(config: ServeConfig) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?
        .block_on(crate::app::serve(config))
}
