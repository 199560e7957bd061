//! Inference: named threads that own a model, fed by a bounded queue.
//!
//! `http::predict` decodes on blocking threads, passes the pixels to an [`Engine`] and waits for
//! the reply. Tensors never leave the model's threads: libtorch keeps memory for each thread that
//! touches one.

mod convolutions;
pub mod engine;
pub mod gradcam;
pub mod local;
pub mod network;
mod openvino;
pub mod overrides;
mod queue;
mod second_engine;
mod thread_choice;
pub mod tuning;
mod worker;

pub use engine::{Engine, EngineError};
pub use network::LoadedModel;
