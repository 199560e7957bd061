//! A server as a user starts it, in a process of its own: protocols, predictions and what outlives it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]

#[path = "../common/mod.rs"]
mod common;

mod data_directory;
mod default_model;
mod durability;
mod http2;
mod import_folder;
mod inference_protocol;
mod metrics;
mod old_data_directory;
mod openvino;
mod predict;
mod serving;
mod tls;
