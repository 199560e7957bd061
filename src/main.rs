//! The `pawprint` program: parses the command line and hands over to [`pawprint::cli`].

use std::process::ExitCode;

use clap::Parser as _;
use pawprint::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
