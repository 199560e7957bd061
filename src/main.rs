//! The `pawprint` program: hands over to [`pawprint::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pawprint::cli::run()
}
