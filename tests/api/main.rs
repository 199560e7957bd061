//! The API of a server in this process: what it answers, stores and refuses.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]

#[path = "../common/mod.rs"]
mod common;

mod archive_kinds;
mod archives;
mod bodies;
mod content_encoding;
mod cross_site;
mod datasets;
mod decisions;
mod event_streams;
mod forms;
mod growth;
mod housekeeping;
mod layouts;
mod limits;
mod open_datasets;
mod openapi;
mod settings;
mod stable_split;
mod uploads;
