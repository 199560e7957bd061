//! Fault injection: a real server process is killed, starved, sent garbage and given damaged files. It
//! must lose nothing that it acknowledged, and say what is wrong.
//!
//! `PAWPRINT_FAULTS` is `short` (the default, as in `make test`) or `long` (`make faults`). All random
//! choices derive from `PAWPRINT_FAULTS_SEED`, which each test prints with its figures. A test that
//! can't run on this machine prints why. If `PAWPRINT_REAL_DATA` is set, real images are used too.
//! The figures of the long form are in `docs/faults.md`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that can't go on may stop there, and its figures are worth knowing"
)]
#![cfg(target_os = "linux")]

mod api;
mod clients;
mod clock;
mod damage;
mod disk;
mod kills;
mod machine;
mod mutants;
mod sandbox;
mod scale;
mod trainers;

#[path = "../common/mod.rs"]
mod common;
