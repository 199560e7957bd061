//! Base networks as [`crate::domain::base`] describes them, without a head.

use tch::{Device, Kind, Tensor};

use super::{
    efficientnet::EfficientnetLite,
    layers::{WeightSource, flatten},
    stages::Stages,
    vgg::Vgg,
};
use crate::{
    domain::base::{Base, Layers, Pooling},
    weights::tensors::Tensors,
};

/// A base network. Its weights are frozen unless [`BaseNetwork::unfreeze_from`] makes those of the
/// last stages trainable.
#[derive(Debug)]
pub struct BaseNetwork {
    base: &'static Base,
    stages: Box<dyn Stages>,
}

impl BaseNetwork {
    /// The network of these tensors, by the names that [`BaseNetwork::tensors`] gives them. Others
    /// are left in `tensors`.
    ///
    /// # Errors
    /// A message that names the tensor that is missing or of another shape.
    pub fn take_from(
        tensors: &mut Tensors,
        base: &'static Base,
        device: Device,
    ) -> Result<Self, String> {
        let mut source = WeightSource::Tensors(std::mem::take(tensors), device);
        let stages: Box<dyn Stages> = match base.layers {
            Layers::Vgg(stages) => Box::new(Vgg::build(&mut source, stages)?),
            Layers::EfficientnetLite { stem, stages, last } => {
                Box::new(EfficientnetLite::build(&mut source, stem, stages, last)?)
            }
        };
        if let WeightSource::Tensors(rest, _) = source {
            *tensors = rest;
        }
        Ok(Self { base, stages })
    }

    /// Which base network it is.
    #[must_use]
    pub const fn base(&self) -> &'static Base {
        self.base
    }

    /// The same network with the weights of stage `first` and of all that follows it as leaves of the
    /// autograd graph, and those before it in `kind`: what is never changed need be cast only once.
    #[must_use]
    pub fn unfreeze_from(&self, first: usize, kind: Kind) -> Self {
        Self { base: self.base, stages: self.stages.converted(first, kind) }
    }

    /// The same network for inference, with its weights in `kind` as they are now.
    #[must_use]
    pub fn for_inference(&self, kind: Kind) -> Self {
        self.unfreeze_from(usize::MAX, kind)
    }

    /// The maps that stage `first` takes, of normalised images `[n, 3, side, side]`, fp32 or bf16:
    /// `[n, channels, height, width]` of the same kind.
    pub fn stages_before(&self, first: usize, images: &Tensor) -> Tensor {
        self.stages.before(first, images)
    }

    /// The last maps `[n, channels, height, width]`, rectified, of the output of
    /// [`BaseNetwork::stages_before`].
    pub fn stages_from(&self, first: usize, maps: &Tensor) -> Tensor {
        self.stages.from(first, maps)
    }

    /// The last maps `[n, channels, height, width]`, rectified, of normalised images
    /// `[n, 3, side, side]`, fp32 or bf16.
    pub fn feature_maps(&self, images: &Tensor) -> Tensor {
        self.stages.maps(images)
    }

    /// Features `[n, features]`, fp32, of the last maps.
    pub fn pool(&self, maps: &Tensor) -> Tensor {
        match self.base.pooling {
            Pooling::MaximumAndFlatten => {
                flatten(&maps.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false))
            }
            Pooling::Average => maps.mean_dim([2, 3].as_slice(), false, Kind::Float),
        }
    }

    /// Features `[n, features]`, fp32, of normalised images `[n, 3, side, side]`, fp32 or bf16.
    pub fn features(&self, images: &Tensor) -> Tensor {
        self.pool(&self.feature_maps(images))
    }

    /// What images with these features, `[n, features]`, are compared by: the mean of each channel,
    /// `[n, channels]`.
    pub fn embeddings(base: &Base, features: &Tensor) -> Tensor {
        features.reshape([-1, base.features / base.channels(), base.channels()]).mean_dim(
            [1].as_slice(),
            false,
            Kind::Float,
        )
    }

    /// The weights by name. They share the network's memory.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        self.tensors_from(1)
    }

    /// The weights of stage `first` and of all that follows it, by name: those that
    /// [`BaseNetwork::unfreeze_from`] makes trainable. They share the network's memory.
    #[must_use]
    pub fn tensors_from(&self, first: usize) -> Tensors {
        let mut tensors = Tensors::new();
        self.stages.insert_into(first, &mut tensors);
        tensors
    }
}
