//! HTTP: every route is in [`router`]; a file per family of endpoints.
//!
//! A handler parses, calls one module, and maps the result. Errors are mapped to statuses in
//! [`error`] alone.

#![expect(unused_qualifications, reason = "what utoipa makes of `params(...)` is taken for one")]

pub mod aliases;
pub mod audit;
pub mod auth;
pub mod b64;
pub mod binary;
pub mod body;
mod body_buffer;
mod body_file;
pub mod classes;
pub mod comparisons;
pub mod content_encoding;
mod cors;
mod cross_site;
pub mod dashboard;
pub mod datasets;
pub mod detached;
pub mod disposition;
pub mod docs;
pub mod document;
pub mod drain;
pub mod drift;
pub mod error;
pub mod evaluations;
pub mod explain;
pub mod export;
pub mod extract;
pub mod fields;
pub mod images;
pub mod imports;
pub mod inference_protocol;
pub mod instances;
pub mod jobs;
pub mod metrics;
pub mod model_history;
pub mod model_reports;
pub mod models;
pub mod pace;
pub mod parts;
pub mod predict;
pub mod predictions;
pub mod previews;
pub mod problem;
mod rate_limit;
pub mod recipes;
pub mod request_body;
mod request_id;
pub mod request_images;
pub mod reviews;
pub mod router;
mod security_headers;
pub mod serve;
pub mod shadow;
pub mod state;
pub mod system;
pub mod tokens;
pub mod trainers;
pub mod upload_slot;
pub mod uploads;
pub mod webhooks;
pub mod weights;
