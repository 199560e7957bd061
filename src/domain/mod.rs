//! Plain types and pure rules.
//!
//! Used by every other module, and uses none: no HTTP, no SQL, no tensors, no clocks beyond
//! [`Timestamp`]. The rules here (transitions of a job, the best epoch, a valid learning rate) are
//! tested without a server.

pub mod access;
pub mod base;
pub mod baseline;
pub mod class_name;
pub mod class_weights;
pub mod comparison;
pub mod dataset;
pub mod drift;
pub mod estimate;
pub mod evaluation;
pub mod excerpt;
pub mod gaps;
pub mod ids;
pub mod job;
pub mod logged;
pub mod metrics;
pub mod model;
pub mod model_history;
pub mod name;
pub mod objective;
pub mod paired;
pub mod parameters;
pub mod placement;
pub mod prediction;
pub mod preprocessing;
pub mod promotion;
pub mod recipe;
pub mod review;
pub mod schedule;
pub mod selective;
pub mod service;
pub mod shadow;
pub mod stable_split;
pub mod temperature;
pub mod webhook;

pub use class_name::ClassName;
pub use ids::{
    AttemptId, DatasetId, DeliveryId, ImageId, JobId, ModelId, PredictionId, TokenId, WebhookId,
};
pub use name::Name;

/// A moment in UTC; its text form is RFC 3339.
pub type Timestamp = jiff::Timestamp;
