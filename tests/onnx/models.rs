//! Model files of all architectures, without training.

use std::path::PathBuf;

use pawprint::{
    architectures::{Cnn, Network},
    domain::{
        base::{EFFICIENTNET_LITE0, VGG16},
        dataset::Classes,
        model::{Architecture, ModelCard},
        objective::Objective,
        preprocessing::{Normalization, Preprocessing},
    },
    model_file::{self, canary},
    registry::embedded,
    weights::tensors::{self, Tensors},
};
use tch::{Device, Kind, Tensor};

pub struct Saved {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

/// Saves a model of these classes, with the canaries that it would have.
fn save(
    architecture: Architecture,
    classes: usize,
    preprocessing: Preprocessing,
    tensors: Tensors,
) -> Saved {
    let (card, _) = embedded::model().unwrap();
    let names: Vec<_> = (0..classes).map(|number| format!("class {number}")).collect();
    let classes: Classes = serde_json::from_value(serde_json::json!(names)).unwrap();
    let objective = Objective::of(&classes);
    let shared = tensors::share(&tensors);
    let network = Network::from_tensors(architecture, objective, shared, Device::Cpu).unwrap();
    let canaries = canary::logits(&network, &preprocessing).unwrap();
    let card = ModelCard {
        architecture,
        classes,
        preprocessing,
        temperature: Some(0.8),
        neighbours: None,
        canaries,
        ..card
    };
    write(&card, &tensors)
}

fn write(card: &ModelCard, tensors: &Tensors) -> Saved {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model_file::save(&path, card, tensors).unwrap();
    Saved { _folder: folder, path }
}

/// Random numbers of that shape, whose square is on average `variance`.
fn random(shape: &[i64], variance: f64) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)) * variance.sqrt()
}

/// The model that is built in: two classes, features of training images, float16.
pub fn lite0() -> Saved {
    let (card, tensors) = embedded::model().unwrap();
    write(&card, &tensors)
}

/// Six classes on the same features.
pub fn lite0_of_six() -> Saved {
    let (_, mut tensors) = embedded::model().unwrap();
    tensors.remove("neighbours");
    tensors.insert("output.weight".to_owned(), random(&[6, 1280], 0.01));
    tensors.insert("output.bias".to_owned(), random(&[6], 0.1));
    let preprocessing = Preprocessing::square(224, Normalization::Centred);
    save(Architecture::Base(&EFFICIENTNET_LITE0), 6, preprocessing, tensors)
}

/// The small network.
pub fn small(classes: usize) -> Saved {
    let outputs = if classes == 2 { 1 } else { classes };
    let tensors = Cnn::random(outputs, 5, Device::Cpu).tensors();
    // Each layer would halve the variance (He et al., 2015); the last one makes photos differ.
    let scale = |name: &str| if name.starts_with("dense") { 8.0 } else { 1.4 };
    let scaled = tensors.into_iter().map(|(name, it)| {
        let it = it.detach() * scale(&name);
        (name, it)
    });
    let tensors = scaled.collect();
    save(Architecture::Cnn, classes, Preprocessing::UNIT_180, tensors)
}

/// VGG16 of random weights.
pub fn vgg16(classes: usize, normalise: Normalization) -> Saved {
    let mut tensors = Tensors::new();
    let mut add = |layer: &str, shape: &[i64], variance: f64| {
        tensors.insert(format!("{layer}.weight"), random(shape, variance));
        tensors.insert(format!("{layer}.bias"), random(&shape[..1], 0.01));
    };
    let mut channels = 3;
    for (block, (count, filters)) in (1..).zip([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]) {
        for convolution in 1..=count {
            let shape = [filters, channels, 3, 3];
            // Keeps the size of the maps' values from layer to layer (He et al., 2015).
            let layer = format!("block{block}_conv{convolution}");
            add(&layer, &shape, 2.0 / (9 * channels) as f64);
            channels = filters;
        }
    }
    let first = if normalise == Normalization::Caffe { 1e-4 } else { 1.0 };
    add("hidden", &[256, 12_800], first / 12_800.0);
    let outputs = if classes == 2 { 1 } else { classes as i64 };
    add("output", &[outputs, 256], 1.0 / 256.0);
    save(Architecture::Base(&VGG16), classes, Preprocessing::square(180, normalise), tensors)
}
