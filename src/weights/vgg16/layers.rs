//! The convolutions of VGG16's base (Simonyan and Zisserman, 2015, configuration D).

use super::{ConvertError, Tensor};

/// One 3×3 convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    /// Keras' name for it, and ours.
    pub(super) name: &'static str,
    /// Its place in torchvision's `features`, where ReLU and pooling are counted too.
    pub(super) torchvision: usize,
    /// Channels in.
    pub(super) inputs: usize,
    /// Channels out.
    pub(super) filters: usize,
}

/// The tensors of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Weight,
    Bias,
}

/// Every convolution, from the image on.
pub(super) const LAYERS: [Layer; 13] = [
    layer("block1_conv1", 0, 3, 64),
    layer("block1_conv2", 2, 64, 64),
    layer("block2_conv1", 5, 64, 128),
    layer("block2_conv2", 7, 128, 128),
    layer("block3_conv1", 10, 128, 256),
    layer("block3_conv2", 12, 256, 256),
    layer("block3_conv3", 14, 256, 256),
    layer("block4_conv1", 17, 256, 512),
    layer("block4_conv2", 19, 512, 512),
    layer("block4_conv3", 21, 512, 512),
    layer("block5_conv1", 24, 512, 512),
    layer("block5_conv2", 26, 512, 512),
    layer("block5_conv3", 28, 512, 512),
];

const fn layer(name: &'static str, torchvision: usize, inputs: usize, filters: usize) -> Layer {
    Layer { name, torchvision, inputs, filters }
}

impl Layer {
    /// Our name for a tensor: `block1_conv1.weight`.
    pub(super) fn canonical(self, part: Part) -> String {
        format!("{}.{}", self.name, part.word())
    }

    /// torchvision's name for it: `features.0.weight`.
    pub(super) fn in_torchvision(self, part: Part) -> String {
        format!("features.{}.{}", self.torchvision, part.word())
    }

    /// Shape of a tensor: `[out, in, 3, 3]` or `[out]`.
    pub(super) fn shape(self, part: Part) -> Vec<usize> {
        match part {
            Part::Weight => vec![self.filters, self.inputs, 3, 3],
            Part::Bias => vec![self.filters],
        }
    }

    /// Shape of a tensor as Keras stores it: `[3, 3, in, out]` or `[out]`.
    pub(super) fn shape_in_keras(self, part: Part) -> Vec<usize> {
        match part {
            Part::Weight => vec![3, 3, self.inputs, self.filters],
            Part::Bias => vec![self.filters],
        }
    }
}

impl Part {
    const ALL: [Self; 2] = [Self::Weight, Self::Bias];

    const fn word(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
        }
    }
}

/// Every tensor of the base under our name, as `read` gives them.
pub(super) fn collect(
    mut read: impl FnMut(usize, Layer, Part) -> Result<Tensor, ConvertError>,
) -> Result<Vec<(String, Tensor)>, ConvertError> {
    let mut tensors = Vec::with_capacity(LAYERS.len() * Part::ALL.len());
    for (index, layer) in LAYERS.into_iter().enumerate() {
        for part in Part::ALL {
            tensors.push((layer.canonical(part), read(index, layer, part)?));
        }
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_has_its_published_number_of_parameters() {
        let parameters = |layer: Layer, part| layer.shape(part).iter().product::<usize>();
        let total: usize = LAYERS
            .into_iter()
            .flat_map(|layer| Part::ALL.map(|part| parameters(layer, part)))
            .sum();
        assert_eq!(total, 14_714_688);
    }
}
