//! Canary images: a model must reproduce the outputs for three known images that its card recorded.
//!
//! They take the whole path, from encoded bytes through orientation, transparency and resizing to
//! the network. A model whose outputs have drifted (other preprocessing, decoder or weights) is
//! rejected when it is loaded, instead of silently predicting worse.

use tch::{Kind, Tensor};

use crate::{
    architectures::{Network, logit_rows, normalise},
    domain::preprocessing::Preprocessing,
    vision,
};

/// A photo on its side with its EXIF orientation, a grey one, and one with transparency.
const IMAGES: [&[u8]; 3] = [
    include_bytes!("../../assets/canaries/rotated.jpg"),
    include_bytes!("../../assets/canaries/grey.jpg"),
    include_bytes!("../../assets/canaries/alpha.png"),
];
/// The first of them as preprocessing before version 4 decoded it. A model of that time must
/// reproduce its outputs for those pixels, so that only the decoder has changed, and knowingly.
const ROTATED_BEFORE_4: &[u8] = include_bytes!("../../assets/canaries/rotated-v3.png");

fn images(preprocessing: &Preprocessing) -> [&'static [u8]; 3] {
    let [rotated, grey, alpha] = IMAGES;
    [if preprocessing.version < 4 { ROTATED_BEFORE_4 } else { rotated }, grey, alpha]
}

/// Allowed drift of a logit: the effect of another CPU's order of summation. A model that reads its
/// channels in another order, or its bytes in another range, is far beyond it.
#[must_use]
pub fn tolerance(logit: f32) -> f32 {
    0.01 * (1.0 + logit.abs())
}

/// The canary images, resized: RGB bytes `[height, width, 3]` each.
///
/// # Errors
/// A message: one can't be decoded.
pub fn pixels(preprocessing: &Preprocessing) -> Result<Vec<Vec<u8>>, String> {
    let limits = vision::Limits { max_pixels: 1 << 20 };
    let prepare = |bytes| vision::prepare(bytes, &limits, preprocessing);
    let pixels = images(preprocessing).into_iter().map(prepare).collect::<Result<_, _>>();
    pixels.map_err(|error| error.to_string())
}

/// The logits for the canary images of `network`, all of the first one first. It must be on the CPU;
/// one image at a time, in fp32: always computed in the same way, whatever the model was trained and serves on, so that
/// nothing else differs.
///
/// # Errors
/// A message: a canary image can't be decoded.
pub fn logits(network: &Network, preprocessing: &Preprocessing) -> Result<Vec<f32>, String> {
    let (width, height) = (preprocessing.width, preprocessing.height);
    let _no_grad = tch::no_grad_guard();
    let mut all = Vec::new();
    for pixels in pixels(preprocessing)? {
        let pixels =
            Tensor::from_slice(&pixels).reshape([1, i64::from(height), i64::from(width), 3]);
        let input = normalise(&pixels, preprocessing.normalise, Kind::Float);
        let logits = logit_rows(&network.forward(&input)).map_err(|error| error.to_string())?;
        all.extend(logits.iter().flat_map(|row| &row.0).map(|logit| *logit as f32));
    }
    Ok(all)
}

/// Compares a model's current outputs with those its card recorded.
///
/// # Errors
/// A message that names the canary that drifted.
pub fn compare(recorded: &[f32], now: &[f32]) -> Result<(), String> {
    if recorded.len() != now.len() {
        return Err(format!(
            "the model file has {} canary outputs; its network and this version have {}",
            recorded.len(),
            now.len()
        ));
    }
    let outputs = now.len() / IMAGES.len();
    for (number, (then, now)) in recorded.iter().zip(now).enumerate() {
        let drift = (then - now).abs();
        // Of an infinite logit, every other one would be near.
        if !then.is_finite() || drift.is_nan() || drift > tolerance(*then) {
            let number = number / outputs;
            return Err(format!("canary image {number}: expected logit {then}, got {now}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::architectures::Cnn;

    #[test]
    fn a_network_agrees_with_itself_and_not_with_another() {
        let preprocessing = Preprocessing::UNIT_180;
        let network = Network::Cnn(Cnn::random(1, 0, Device::Cpu));
        let first = logits(&network, &preprocessing).unwrap();
        assert_eq!(first.len(), IMAGES.len());
        assert!(compare(&first, &logits(&network, &preprocessing).unwrap()).is_ok());
        let drifted: Vec<f32> = first.iter().map(|logit| logit + 1.0).collect();
        assert!(compare(&first, &drifted).is_err());
        assert!(compare(&first, &[f32::NAN; 3]).is_err());
        assert!(compare(&first, &first[..2]).is_err());
        assert!(compare(&[f32::INFINITY; 3], &first).is_err());
    }
}
