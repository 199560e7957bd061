//! The vocabulary of the product: plain types and pure rules.
//!
//! Called by every other room, and calls none: no HTTP, no SQL, no tensors, no clocks beyond
//! [`Timestamp`]. What is decided here (which job may become what, which epoch is best, what a
//! valid learning rate is) is tested without a server.

pub mod dataset;
pub mod evaluation;
pub mod excerpt;
pub mod ids;
pub mod job;
pub mod metrics;
pub mod model;
pub mod name;
pub mod parameters;
pub mod prediction;
pub mod recipe;

pub use ids::{DatasetId, ImageId, JobId, ModelId};
pub use name::Name;

/// A moment in UTC; its text form is RFC 3339.
pub type Timestamp = jiff::Timestamp;
