//! EfficientNet-Lite0 gives the numbers of the Python network with the same weights. The script that
//! asked it is `fixtures/make_efficientnet.py`.

#[path = "../../build/efficientnet_lite.rs"]
mod published;

use std::path::Path;

use pawprint::{
    architectures::{BaseNetwork, Head, Network, count_parameters, normalise},
    bases::BaseWeights,
    domain::{
        base::EFFICIENTNET_LITE0, model::Architecture, objective::Objective,
        preprocessing::Normalization,
    },
    inference::gradcam,
    weights::tensors::Tensors,
};
use pytorch_reader::PytorchReader;
use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor};

/// What `make base-weights` installs.
const PUBLISHED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/.base-weights/efficientnet_lite0.pth");

/// `NUMBERS` in the script.
const NUMBERS: [i64; 10] = [11, 12, 21, 27, 54, 61, 62, 63, 64, 65];

/// `image` in the script: `[224, 224, 3]`.
fn image(n: i64) -> Tensor {
    let wave = |phase: i64| (phase % 512 - 256).abs().min(255);
    let mut pixels = Vec::with_capacity(224 * 224 * 3);
    for y in 0..224 {
        for x in 0..224 {
            for c in 0..3 {
                let noise = (x * 7 + y * 13 + c * 5 + n * 3) * (x + 3 * y + 1) % (8 * (n % 10) + 1);
                let (across, down) = (x * (n % 7 + 1) + 60 * c, y * (n % 11 + 1) + 40 * n * c);
                let value = (wave(across) * wave(down) / 256 + noise).min(255);
                pixels.push(u8::try_from(value).unwrap());
            }
        }
    }
    Tensor::from_slice(&pixels).reshape([224, 224, 3])
}

fn images(kind: Kind) -> Tensor {
    normalise(&Tensor::stack(&NUMBERS.map(image), 0), Normalization::Centred, kind)
}

fn base(mut tensors: Tensors) -> BaseNetwork {
    let base = BaseNetwork::take_from(&mut tensors, &EFFICIENTNET_LITE0, Device::Cpu).unwrap();
    assert!(tensors.is_empty(), "{:?}", tensors.keys());
    base
}

/// The base as published, in fp32.
fn exact() -> BaseNetwork {
    let tensors = published::read(Path::new(PUBLISHED)).unwrap().into_iter().map(|tensor| {
        let shape: Vec<i64> = tensor.shape.iter().map(|&size| size as i64).collect();
        (tensor.name, Tensor::from_slice(&tensor.values).reshape(shape))
    });
    base(tensors.collect())
}

/// The base as shipped, in float16.
fn shipped_tensors() -> Tensors {
    let shipped = EFFICIENTNET_LITE0.shipped().unwrap();
    BaseWeights::shipped(&EFFICIENTNET_LITE0, shipped).unwrap().tensors
}

fn shipped() -> BaseNetwork {
    base(shipped_tensors())
}

/// The Python network's features `[10, 1280]` and most probable classes `[10, 5]`.
fn reference() -> (Tensor, Tensor) {
    let bytes = include_bytes!("../fixtures/parity/efficientnet_lite0.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let read = |name: &str, shape: &[i64], kind| {
        Tensor::f_from_data_size(file.tensor(name).unwrap().data(), shape, kind).unwrap()
    };
    (read("features", &[10, 1280], Kind::Float), read("top_5", &[10, 5], Kind::Int64))
}

/// The five most probable classes `[n, 5]` of the published ImageNet classifier.
fn top_5(features: &Tensor) -> Tensor {
    let file = PytorchReader::new(PUBLISHED).unwrap();
    let read = |name: &str, shape: &[i64]| {
        let bytes = file.get(name).unwrap().read().unwrap();
        Tensor::f_from_data_size(&bytes, shape, Kind::Float).unwrap()
    };
    let (weight, bias) = (read("_fc.weight", &[1000, 1280]), read("_fc.bias", &[1000]));
    features.linear(&weight, Some(&bias)).topk(5, 1, true, true).1
}

/// Largest difference, relative to the largest number.
fn relative_difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size());
    let difference = (ours - theirs).abs().max().double_value(&[]);
    difference / theirs.abs().max().double_value(&[])
}

#[test]
fn features_and_imagenet_classes_are_those_of_the_python_network() {
    let _no_grad = tch::no_grad_guard();
    let (features, classes) = reference();
    for (weights, base, tolerance) in [("published", exact(), 1e-3), ("shipped", shipped(), 1e-2)] {
        let ours = base.features(&images(Kind::Float));
        let difference = relative_difference(&ours, &features);
        assert!(difference < tolerance, "{weights}: {difference}");
        assert_eq!(top_5(&ours), classes, "{weights}");
    }
}

#[test]
fn inference_gives_the_same_features_in_fp32_and_similar_ones_in_bf16() {
    let _no_grad = tch::no_grad_guard();
    let base = shipped();
    let features = base.features(&images(Kind::Float));
    let exact = base.for_inference(Kind::Float).features(&images(Kind::Float));
    let difference = relative_difference(&exact, &features);
    assert!(difference < 1e-3, "{difference}");

    let rough = base.for_inference(Kind::BFloat16).features(&images(Kind::BFloat16));
    assert_eq!(rough.kind(), Kind::Float);
    let similarity = Tensor::cosine_similarity(&rough, &features, 1, 1e-8);
    assert!(similarity.min().double_value(&[]) > 0.99, "{similarity}");
}

#[test]
fn the_base_has_its_parameters_under_names_that_make_it_again() {
    let base = shipped();
    let tensors = base.tensors();
    // 3,371,008 with a scale and an offset a channel of each batch normalisation, instead of a bias.
    let channels: i64 = tensors
        .iter()
        .filter(|(name, _)| name.ends_with(".bias"))
        .map(|(_, bias)| bias.numel() as i64)
        .sum();
    assert_eq!(count_parameters(&tensors) as i64 + channels, 3_371_008);
    let images = images(Kind::Float).narrow(0, 0, 1);
    let again = self::base(tensors);
    assert_eq!(base.feature_maps(&images).size(), [1, 1280, 7, 7]);
    assert_eq!(again.features(&images), base.features(&images));
}

#[test]
fn stages_from_the_fifth_are_trained_on_what_the_frozen_ones_give() {
    let images = images(Kind::Float).narrow(0, 0, 2);
    let expected = shipped().features(&images);
    let base = shipped().unfreeze_from(5, Kind::Float);
    let maps = base.stages_before(5, &images);
    assert_eq!((maps.size(), maps.requires_grad()), (vec![2, 80, 14, 14], false));
    let features = base.pool(&base.stages_from(5, &maps));
    // The frozen stages are fused.
    let difference = relative_difference(&features.detach(), &expected);
    assert!(difference < 1e-3, "{difference}");

    features.sum(Kind::Float).backward();
    let trained = base.tensors_from(5);
    for (name, tensor) in base.tensors() {
        assert_eq!(tensor.requires_grad(), trained.contains_key(&name), "{name}");
    }
    assert!(trained.contains_key("block5_1.expand.weight") && trained.contains_key("last.bias"));
    for (name, tensor) in trained {
        assert!(tensor.grad().abs().max().double_value(&[]) > 0.0, "{name}");
    }
}

/// An average and one dense layer follow the last maps: its weights are the gradient.
#[test]
fn a_network_is_explained_by_the_weights_of_its_head() {
    for seed in 0..4 {
        let mut head = Head::new(&EFFICIENTNET_LITE0, 1, 0, Device::Cpu).tensors();
        let values: Vec<f32> = (0..EFFICIENTNET_LITE0.features)
            .map(|it| ((it * 7 + seed * 13) % 101) as f32 / 101.0 - 0.5)
            .collect();
        let weights = Tensor::from_slice(&values).reshape([1, EFFICIENTNET_LITE0.features]);
        head.insert("output.weight".to_owned(), weights.shallow_clone());
        let mut tensors = shipped_tensors();
        tensors.extend(head);
        let network = Network::from_tensors(
            Architecture::Base(&EFFICIENTNET_LITE0),
            Objective::Sigmoid,
            tensors,
            Device::Cpu,
        )
        .unwrap();
        let image = images(Kind::Float).narrow(0, seed, 1);
        let maps = tch::no_grad(|| network.feature_maps(&image));
        let (logits, map) = gradcam::explain(&network, &maps, None).unwrap();
        let logit = logits.0[0];
        assert!((network.forward(&image).double_value(&[0, 0]) - logit).abs() < 1e-4);
        assert_eq!((map.height, map.width), (7, 7));
        let maps = maps.squeeze_dim(0);
        let expected =
            Tensor::einsum("ik,khw->hw", &[weights * logit.signum(), maps], None::<&[i64]>).relu();
        let map = Tensor::from_slice(&map.values).reshape([7, 7]);
        let difference = relative_difference(&map, &(&expected / expected.max()));
        assert!(difference < 1e-3, "{difference}");
    }
}

#[tokio::test]
async fn the_server_names_the_shipped_weights_and_their_licence() {
    let system = crate::common::Server::start().await.get("/system").await.ok();
    let shipped = &system["shipped_weights"][0];
    assert_eq!(shipped["base"], "efficientnet_lite0");
    assert_eq!(shipped["license"], "Apache-2.0");
    // The hash that its publisher put into its name.
    assert!(shipped["sha256"].as_str().unwrap().starts_with("57934424"), "{shipped}");
}
