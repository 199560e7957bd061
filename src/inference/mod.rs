//! Asking a model: a named thread that owns it, fed by a bounded queue.
//!
//! `http::predict` decodes on blocking threads, hands the pixels to an [`Engine`] and waits for
//! the reply. Tensors never leave the model's thread: libtorch keeps memory for each thread that
//! touches one.

pub mod canary;
pub mod engine;
pub mod local;
pub mod network;

pub use engine::{Engine, EngineError};
pub use network::Loaded;
