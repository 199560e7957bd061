//! Where a network looks: Grad-CAM (Selvaraju et al., 2017, equations 1 and 2).

use tch::{Kind, Tensor};

use crate::architectures::Network;

/// How much each place of an image speaks for a class, from 0 to 1, the strongest being 1; all
/// are 0 where nothing does.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// Places down.
    pub height: usize,
    /// Places across.
    pub width: usize,
    /// `height` rows of `width` values, top to bottom.
    pub values: Vec<f32>,
}

/// The logit of a normalised image, `[1, 3, 180, 180]`, and the map of the class that it speaks
/// for: of the second for a logit from 0 up, of the first below, whose score is the negated logit.
///
/// The maps that are weighted are those of the last convolution, rectified.
///
/// # Errors
/// libtorch's own, as on too little memory.
pub fn explain(network: &Network, image: &Tensor) -> Result<(f64, Map), tch::TchError> {
    let maps = tch::no_grad(|| network.maps(image)).to_kind(Kind::Float);
    let maps = maps.set_requires_grad(true);
    let logit = tch::with_grad(|| network.classify(&maps));
    let gradient = Tensor::f_run_backward(&[&logit], &[&maps], false, false)?;
    let logit = logit.f_double_value(&[0])?;
    let score = if logit >= 0.0 { 1.0 } else { -1.0 };
    let [gradient] = gradient.as_slice() else {
        return Err(tch::TchError::Torch("no gradient of the feature maps".to_owned()));
    };
    let weights = gradient.mean_dim([2, 3].as_slice(), true, Kind::Float) * score;
    let map = (weights * maps.detach()).sum_dim_intlist([1].as_slice(), false, Kind::Float).relu();
    let map = map.squeeze_dim(0);
    let strongest = map.max().f_double_value(&[])?;
    let map = if strongest > 0.0 { map / strongest } else { map };
    let (height, width) = map.size2()?;
    let values = Vec::<f32>::try_from(map.contiguous().flatten(0, -1))?;
    Ok((logit, Map { height: height as usize, width: width as usize, values }))
}
