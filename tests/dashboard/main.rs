//! The dashboard, in headless Chromium against a server as a user starts it.
//!
//! Where no Chromium with its driver is installed, each test says so and passes; with `CI=true` it
//! fails.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

mod addresses;
mod browser;
mod classes;
mod evaluation;
mod faults;
mod models;
mod new_dataset;
mod placement;
mod predictions;
mod review;
mod splits;
mod teach;
mod walk;

#[path = "../common/mod.rs"]
mod common;
