//! The weights that base networks start from: embedded in the binary, where `build.rs` converts what
//! `make base-weights` downloads, or in a file that [`crate::pretrained`] provides.
//!
//! Used by the trainer, and by the server for the built-in model.

use std::path::Path;

use tch::Device;

use crate::{
    architectures::BaseNetwork,
    domain::{
        base::{Base, ShippedWeights, Weights},
        model::Pretrained,
        preprocessing::Preprocessing,
    },
    error_chain::chain,
    weights::{
        tensors::{self, Tensors},
        vgg16,
    },
};

/// The initial weights of a base network.
#[derive(Debug)]
pub struct BaseWeights {
    base: &'static Base,
    /// Their original values: frozen layers go into a model unchanged.
    pub tensors: Tensors,
    /// Where they were published.
    pub pretrained: Pretrained,
    /// How images are prepared for them.
    pub preprocessing: Preprocessing,
}

impl BaseWeights {
    /// The weights of `base` for a job: embedded, or from the job's folder.
    ///
    /// # Errors
    /// A message: the file can't be read.
    pub fn load(base: &'static Base, folder: &Path) -> Result<Self, String> {
        match &base.weights {
            Weights::Shipped(shipped) => Self::shipped(base, shipped),
            Weights::Published => {
                let path = folder.join(base.weights_file());
                let info = vgg16::info(&path).map_err(|error| chain(&error))?;
                let (_, tensors) = tensors::load(&path).map_err(|error| chain(&error))?;
                Ok(Self {
                    base,
                    tensors,
                    pretrained: Pretrained { origin: info.origin, sha256: info.source_sha256 },
                    preprocessing: Preprocessing::square(base.side, info.preprocessing.into()),
                })
            }
        }
    }

    /// The weights that are embedded in the binary.
    ///
    /// # Errors
    /// A message: the binary was built with a damaged file.
    pub fn shipped(base: &'static Base, shipped: &ShippedWeights) -> Result<Self, String> {
        let (_, tensors) =
            tensors::parse(Path::new(base.id()), shipped.file).map_err(|error| chain(&error))?;
        let ShippedWeights { origin, sha256, normalise, .. } = *shipped;
        Ok(Self {
            base,
            tensors,
            pretrained: Pretrained { origin: origin.to_owned(), sha256 },
            preprocessing: Preprocessing::square(base.side, normalise),
        })
    }

    /// The network with copies of these weights, fp32.
    ///
    /// # Errors
    /// A message that names the tensor that is missing or of another shape.
    pub fn network(&self, device: Device) -> Result<BaseNetwork, String> {
        BaseNetwork::take_from(&mut tensors::share(&self.tensors), self.base, device)
    }
}
