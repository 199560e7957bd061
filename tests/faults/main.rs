//! Faults, on purpose and many of them: a server as a user starts it is killed, starved, fed
//! garbage and left with damaged files, and must lose nothing that it acknowledged.
//!
//! `PAWPRINT_FAULTS` is `short`, as in `make test`, or `long`, as in `make faults`; each test says
//! how many rounds that is. All that is drawn follows from `PAWPRINT_FAULTS_SEED`, which is printed:
//! the same seed draws the same again. A test that can't run here prints why. With
//! `PAWPRINT_REAL_DATA` real photos are among what is sent.
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
