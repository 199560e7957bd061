//! The library without a server: decoding, preprocessing, networks, weights and the arithmetic of evaluation.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]

#[path = "../common/mod.rs"]
mod common;

mod bench_compare;
mod charts;
mod efficientnet;
mod evaluation;
mod feature_cache;
mod jpeg;
mod multiclass_evaluation;
mod orientation;
mod parity;
mod vgg16_weights;
mod vision;
