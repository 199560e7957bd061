//! The same numbers in give the same numbers out as in Keras, torchvision and scipy; the scripts
//! that asked those lie beside the fixtures.

use std::{fs::File, io, path::Path};

use flate2::read::GzDecoder;
use pawprint::{
    architectures::{BaseNetwork, Classifier, Cnn, Head, count_parameters, normalise},
    domain::{base::VGG16, preprocessing::Normalization},
    training::{
        augment::{Transform, augment},
        optimizer::RmsProp,
    },
    weights::{
        tensors::{self, Tensors},
        vgg16,
    },
};
use safetensors::SafeTensors;
use serde::{Deserialize, de::DeserializeOwned};
use tch::{Device, Kind, Tensor};

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/fixtures/parity/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Largest difference, relative to the largest number.
fn relative_difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size());
    let difference = (ours - theirs).abs().max().double_value(&[]);
    difference / theirs.abs().max().double_value(&[])
}

/// The weights that `make_parity.py` gave Keras: `pattern` there.
fn pattern(shape: &[i64], layer: i64) -> Tensor {
    let fan_in: i64 = shape[1..].iter().product();
    let scale = (fan_in as f64 / 12.0).sqrt();
    let count: i64 = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|index| (((index * 7919 + layer * 104_729) % 10_007) as f64 / 10_007.0 - 0.5) / scale)
        .map(|value| value as f32)
        .collect();
    Tensor::from_slice(&values).reshape(shape)
}

#[derive(Deserialize)]
struct CnnReference {
    logits: Vec<f32>,
    parameters: u64,
}

#[test]
fn the_small_network_is_that_of_keras() {
    let reference: CnnReference = fixture("cnn.json");
    let mut tensors = Cnn::random(1, 0, Device::Cpu).tensors();
    assert_eq!(count_parameters(&tensors), reference.parameters);
    let layers = ["conv1", "conv2", "conv3", "conv4", "conv5", "dense"];
    for (number, layer) in (0..).zip(layers) {
        let shape = tensors[&format!("{layer}.weight")].size();
        tensors.insert(format!("{layer}.weight"), pattern(&shape, 2 * number));
        let bias = pattern(&[shape[0], 1], 2 * number + 1).reshape(-1) * 0.1;
        tensors.insert(format!("{layer}.bias"), bias);
    }
    let network = Cnn::from_tensors(tensors, 1, Device::Cpu).unwrap();
    let mut pixels = Vec::with_capacity(3 * 180 * 180 * 3);
    for n in 0..3_u32 {
        for y in 0..180_u32 {
            for x in 0..180_u32 {
                for c in 0..3_u32 {
                    let value = (x * 7 + y * 13 + c * 29 + n * 101 + x * y % 17) % 256;
                    pixels.push(u8::try_from(value).unwrap());
                }
            }
        }
    }
    let pixels = Tensor::from_slice(&pixels).reshape([3, 180, 180, 3]);
    let ours = network.forward(&normalise(&pixels, Normalization::UnitRange, Kind::Float));
    let difference =
        relative_difference(&ours.squeeze_dim(1), &Tensor::from_slice(&reference.logits));
    assert!(difference < 1e-4, "{difference}: {ours:?}, Keras {:?}", reference.logits);
}

/// Weights that Keras or torchvision stored, as we keep them, and how images are prepared for them.
fn converted(fixture: &str, folder: &Path) -> (Tensors, Normalization) {
    let path = format!("{}/tests/fixtures/vgg16/{fixture}.gz.gz", env!("CARGO_MANIFEST_DIR"));
    let (source, target) = (folder.join(fixture), folder.join("vgg16.safetensors"));
    let mut unpacked = GzDecoder::new(GzDecoder::new(File::open(path).unwrap()));
    io::copy(&mut unpacked, &mut File::create(&source).unwrap()).unwrap();
    let info = vgg16::convert(&source, &target).unwrap();
    (tensors::load(&target).unwrap().1, info.preprocessing.into())
}

#[test]
fn the_vgg16_base_is_that_of_keras_and_of_torchvision() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vgg16/reference.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let read = |name: &str, kind| {
        let view = reference.tensor(name).unwrap();
        let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        Tensor::f_from_data_size(view.data(), &shape, kind).unwrap()
    };
    let images = read("images", Kind::Uint8);
    let folder = tempfile::tempdir().unwrap();
    for (name, fixture) in [("caffe", "keras_published.h5"), ("torch", "torchvision_legacy.pth")] {
        let (mut tensors, preparation) = converted(fixture, folder.path());
        let base = BaseNetwork::take_from(&mut tensors, &VGG16, Device::Cpu).unwrap();
        assert!(tensors.is_empty());
        let features = base.features(&normalise(&images, preparation, Kind::Float));
        let ours = features.reshape([2, 5, 5, 512]).slice(3, None, None, 16);
        let difference = relative_difference(&ours, &read(name, Kind::Float));
        assert!(difference < 1e-4, "{fixture}: {difference}");
    }
}

#[test]
fn networks_have_the_parameters_of_the_notebook() {
    assert_eq!(count_parameters(&Cnn::random(1, 0, Device::Cpu).tensors()), 991_041);
    let head = Head::new(&VGG16, 1, 0, Device::Cpu).tensors();
    assert_eq!(count_parameters(&head), 3_277_313);
    let folder = tempfile::tempdir().unwrap();
    let (mut tensors, _) = converted("torchvision_zip.pth", folder.path());
    assert_eq!(count_parameters(&tensors), 14_714_688);
    tensors.extend(head);
    let network = Classifier::from_tensors(tensors, &VGG16, 1, Device::Cpu).unwrap();
    assert_eq!(count_parameters(&network.tensors()), 17_992_001);
}

#[derive(Deserialize)]
struct RmsPropReference {
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    steps: Vec<Vec<f32>>,
}

#[test]
fn the_optimizer_steps_as_keras_does() {
    let RmsPropReference { start, gradients, steps } = fixture("rmsprop.json");
    let weight = Tensor::from_slice(&start).set_requires_grad(true);
    let weights = Tensors::from([("w".to_owned(), weight.shallow_clone())]);
    let mut optimizer = RmsProp::new(weights);
    for (gradient, expected) in gradients.iter().zip(&steps) {
        // A loss whose gradient is this one.
        let loss = (&weight * Tensor::from_slice(gradient)).sum(Kind::Float);
        optimizer.step(&loss, 1e-3);
        let difference = relative_difference(&weight.detach(), &Tensor::from_slice(expected));
        assert!(difference < 1e-6, "{difference}");
    }
}

#[derive(Deserialize)]
struct AugmentationReference {
    height: i64,
    width: i64,
    image: Vec<u8>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    flip: bool,
    angle: f64,
    zoom: f64,
    result: Vec<f32>,
}

#[test]
fn the_augmentation_moves_pixels_where_scipy_does() {
    let AugmentationReference { height, width, image, cases } = fixture("augmentation.json");
    let photo = Tensor::from_slice(&image).reshape([1, height, width, 3]);
    let photos = photo.repeat([cases.len() as i64, 1, 1, 1]);
    let transforms: Vec<Transform> = cases
        .iter()
        .map(|&Case { flip, angle, zoom, .. }| Transform { flip, angle, zoom })
        .collect();
    let ours = augment(&photos, &transforms);
    for (index, case) in (0..).zip(&cases) {
        let theirs = Tensor::from_slice(&case.result).reshape([height, width, 3]);
        let difference = (ours.get(index) - theirs).abs().max().double_value(&[]);
        assert!(
            difference < 0.01,
            "{:?} differs by {difference} of 255",
            transforms[index as usize]
        );
    }
}

#[test]
fn a_transform_that_changes_nothing_gives_every_byte_back() {
    let photo = Tensor::randint(256, [2, 30, 20, 3], (Kind::Uint8, Device::Cpu));
    let same = augment(&photo, &[Transform::IDENTITY; 2]).round().to_kind(Kind::Uint8);
    assert_eq!(same, photo);
}

#[test]
fn random_transforms_fill_their_ranges_and_leave_none() {
    use rand::SeedableRng as _;
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let drawn: Vec<Transform> = (0..2_000).map(|_| Transform::random(&mut generator)).collect();
    let range = |value: fn(&Transform) -> f64| {
        let values = || drawn.iter().map(value);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    let (low, high) = range(|transform| transform.angle.to_degrees());
    assert!((-36.0..-35.5).contains(&low) && (35.5..=36.0).contains(&high), "{low} to {high}");
    let (low, high) = range(|transform| transform.zoom);
    assert!((0.8..0.805).contains(&low) && (1.195..=1.2).contains(&high), "{low} to {high}");
    let flips = drawn.iter().filter(|transform| transform.flip).count();
    assert!((900..1_100).contains(&flips), "{flips}");
}
