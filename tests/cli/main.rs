//! The command line as people meet it: the built program against a server that plays canned
//! answers.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
mod healthcheck;
mod import;
mod lists;
mod predict;
mod splits;
mod watch;
mod weights;
