//! Networks: layers and nothing else. Training is elsewhere.
//!
//! Used by the trainer, and by the threads that own a model in the server.

mod base;
mod classifier;
pub mod cnn;
mod conv_relu;
pub(crate) mod convolution;
mod efficientnet;
mod fused;
mod head;
mod layers;
mod parts;
#[cfg_attr(not(target_arch = "x86_64"), path = "simd_elsewhere.rs")]
mod simd;
mod stages;
mod vgg;

use tch::{Device, Kind, Tensor};

pub use self::{base::BaseNetwork, classifier::Classifier, cnn::Cnn, head::Head};
use crate::{
    domain::{
        model::Architecture,
        objective::{Logits, Objective},
        preprocessing::Normalization,
    },
    weights::tensors::Tensors,
};

/// A network of one of the architectures, for inference.
#[derive(Debug)]
pub enum Network {
    /// The small network.
    Cnn(Cnn),
    /// A base network under its head.
    Classifier(Classifier),
}

impl Network {
    /// The network of that architecture and objective with these weights.
    ///
    /// # Errors
    /// A message that names the tensor that is missing, unexpected or of another shape.
    pub fn from_tensors(
        architecture: Architecture,
        objective: Objective,
        tensors: Tensors,
        device: Device,
    ) -> Result<Self, String> {
        let outputs = objective.outputs();
        Ok(match architecture {
            Architecture::Cnn => Self::Cnn(Cnn::from_tensors(tensors, outputs, device)?),
            Architecture::Base(base) => {
                Self::Classifier(Classifier::from_tensors(tensors, base, outputs, device)?)
            }
        })
    }

    /// Logits `[n, outputs]` for normalised images `[n, 3, side, side]`, fp32 or bf16.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        match self {
            Self::Cnn(network) => network.forward(images),
            Self::Classifier(network) => network.forward(images),
        }
    }

    /// The rectified feature maps of the last convolution for normalised images: `[n, 256, 7, 7]`
    /// of the small network, `[n, channels, height, width]` of a base network.
    pub fn feature_maps(&self, images: &Tensor) -> Tensor {
        match self {
            Self::Cnn(network) => network.feature_maps(images),
            Self::Classifier(network) => network.feature_maps(images),
        }
    }

    /// Logits `[n, outputs]` for the output of [`Network::feature_maps`].
    pub fn classify(&self, maps: &Tensor) -> Tensor {
        match self {
            Self::Cnn(network) => network.classify(&layers::flatten(maps)),
            Self::Classifier(network) => network.classify(maps),
        }
    }

    /// What images are compared by, `[n, width]`, fp32, for the output of [`Network::feature_maps`].
    /// The features of the small network know nothing beyond its classes: by their distance, photos of
    /// rubbish can't be told from those of cats and dogs.
    pub fn embeddings(&self, maps: &Tensor) -> Option<Tensor> {
        match self {
            Self::Cnn(_) => None,
            Self::Classifier(network) => Some(network.embeddings(maps)),
        }
    }

    /// The same network for inference: the weights of the convolutions are cast to `kind` once
    /// instead of in each pass. Weights already of that kind are shared.
    #[must_use]
    pub fn for_inference(&self, kind: Kind) -> Self {
        match self {
            Self::Cnn(network) => Self::Cnn(network.for_inference(kind)),
            Self::Classifier(network) => Self::Classifier(network.for_inference(kind)),
        }
    }

    /// The weights by name. They share the network's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        match self {
            Self::Cnn(network) => network.tensors(),
            Self::Classifier(network) => network.tensors(),
        }
    }
}

/// The logits of each image, `[n, outputs]`, on the CPU.
///
/// # Errors
/// Those of libtorch.
pub fn logit_rows(logits: &Tensor) -> Result<Vec<Logits>, tch::TchError> {
    let (_, outputs) = logits.size2()?;
    let values: Vec<f64> =
        logits.to_kind(Kind::Double).to_device(Device::Cpu).flatten(0, -1).try_into()?;
    Ok(values.chunks(outputs.max(1) as usize).map(|row| Logits(row.to_vec())).collect())
}

/// Total number of values in `tensors`.
#[must_use]
pub fn count_parameters(tensors: &Tensors) -> u64 {
    tensors.values().map(|tensor| tensor.numel() as u64).sum()
}

/// `tensor`, of four dimensions, with the same values laid out channels last: what convolutions
/// on the CPU and on CUDA's matrix units read without reordering.
pub fn channels_last(tensor: &Tensor) -> Tensor {
    tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Converts pixels in 0 to 255 to the input of a network: from `[n, height, width, 3]` RGB, bytes
/// or floats, to `[n, 3, height, width]` of `kind`, channels last.
pub fn normalise(pixels: &Tensor, normalise: Normalization, kind: Kind) -> Tensor {
    // Filled where they are needed: a copy to the GPU would wait for it.
    let constants = |values: [f64; 3]| {
        Tensor::cat(
            &values.map(|value| Tensor::full([1], value, (Kind::Float, pixels.device()))),
            0,
        )
    };
    let normalised = match normalise {
        // In one pass if the kind allows it.
        Normalization::UnitRange => pixels.to_kind(kind) * (1.0 / 255.0),
        // Exact in either kind: bytes have 8 bits.
        Normalization::Centred => (pixels.to_kind(kind) - 127.0) * (1.0 / 128.0),
        Normalization::Caffe => {
            pixels.flip([3]).to_kind(Kind::Float) - constants([103.939, 116.779, 123.68])
        }
        Normalization::Torch => {
            let mean = constants([0.485, 0.456, 0.406].map(|mean| mean * 255.0));
            let scale =
                constants([0.229, 0.224, 0.225].map(|deviation: f64| (deviation * 255.0).recip()));
            (pixels.to_kind(Kind::Float) - mean) * scale
        }
    };
    normalised.to_kind(kind).permute([0, 3, 1, 2])
}
