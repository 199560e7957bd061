//! Canary images: what a model said of three known images when it was made, it must still say.
//!
//! They go the whole way, from encoded bytes through orientation, transparency and resizing to
//! the network. A model whose answers have drifted (other preprocessing, other decoder, other
//! weights) is refused when it is loaded instead of answering quietly worse.

use tch::{Kind, Tensor};

use crate::{
    architectures::{Network, normalise},
    domain::model::Preprocessing,
    vision,
};

/// A photo on its side with its EXIF orientation, a grey one, and one with transparency.
const IMAGES: [&[u8]; 3] = [
    include_bytes!("../../assets/canaries/rotated.jpg"),
    include_bytes!("../../assets/canaries/grey.jpg"),
    include_bytes!("../../assets/canaries/alpha.png"),
];
/// The first of them as preprocessing of before version 4 decoded it. A model of that time is held
/// to what it said of those pixels, so that only the decoder has changed, and knowingly.
const ROTATED_BEFORE_4: &[u8] = include_bytes!("../../assets/canaries/rotated-v3.png");

fn images(preprocessing: &Preprocessing) -> [&'static [u8]; 3] {
    let [rotated, grey, alpha] = IMAGES;
    [if preprocessing.version < 4 { ROTATED_BEFORE_4 } else { rotated }, grey, alpha]
}

/// Allowed drift of a logit: what another processor's order of summing may do. A model that reads
/// its channels in another order, or its bytes in another range, is far beyond it.
fn tolerance(logit: f32) -> f32 {
    0.01 * (1.0 + logit.abs())
}

/// The logits for the canary images of `network`, which must be on the CPU, one image at a time,
/// in fp32: always computed alike, whatever the model was trained and serves on, so that what is
/// compared differs in nothing else.
///
/// # Errors
/// A sentence: a canary image can't be decoded.
pub fn logits(network: &Network, preprocessing: &Preprocessing) -> Result<Vec<f32>, String> {
    let limits = vision::Limits { max_pixels: 1 << 20 };
    let (width, height) = (preprocessing.width, preprocessing.height);
    let _no_grad = tch::no_grad_guard();
    images(preprocessing)
        .into_iter()
        .map(|bytes| {
            let pixels = vision::prepare(bytes, &limits, preprocessing)
                .map_err(|error| error.to_string())?;
            let pixels =
                Tensor::from_slice(&pixels).reshape([1, i64::from(height), i64::from(width), 3]);
            let input = normalise(&pixels, preprocessing.normalise, Kind::Float);
            let logit = network.forward(&input);
            Ok(logit.double_value(&[0]) as f32)
        })
        .collect()
}

/// Compares what a model says now with what it said when it was made.
///
/// # Errors
/// A sentence that names the canary that drifted.
pub fn compare(recorded: &[f32], now: &[f32]) -> Result<(), String> {
    if recorded.len() != now.len() {
        return Err(format!(
            "it knows {} canary images, and there are {}",
            recorded.len(),
            now.len()
        ));
    }
    for (number, (then, now)) in recorded.iter().zip(now).enumerate() {
        let drift = (then - now).abs();
        if drift.is_nan() || drift > tolerance(*then) {
            return Err(format!("its logit for canary image {number} was {then} and is now {now}"));
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
        let network = Network::Cnn(Cnn::random(0, Device::Cpu));
        let first = logits(&network, &preprocessing).unwrap();
        assert_eq!(first.len(), IMAGES.len());
        assert!(compare(&first, &logits(&network, &preprocessing).unwrap()).is_ok());
        let drifted: Vec<f32> = first.iter().map(|logit| logit + 1.0).collect();
        assert!(compare(&first, &drifted).is_err());
        assert!(compare(&first, &[f32::NAN; 3]).is_err());
        assert!(compare(&first, &first[..2]).is_err());
    }
}
