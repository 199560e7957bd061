//! Files of all architectures, read back.

use std::{collections::BTreeMap, path::PathBuf};

use prost::Message as _;
use tch::{Device, Kind, Tensor};

use super::{
    graph::{Dim, Element},
    schema::{GraphProto, ModelProto, TensorProto, ValueInfoProto},
    *,
};
use crate::{
    architectures::Cnn,
    domain::{
        base::VGG16,
        model::Architecture,
        preprocessing::{Normalization, Preprocessing},
    },
    registry::embedded,
    weights::tensors::Tensors,
};

struct Saved {
    _folder: tempfile::TempDir,
    path: PathBuf,
    card: ModelCard,
    tensors: Tensors,
}

fn save(card: ModelCard, tensors: Tensors) -> Saved {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model_file::save(&path, &card, &tensors).unwrap();
    Saved { _folder: folder, path, card, tensors }
}

fn classes(count: usize) -> crate::domain::dataset::Classes {
    let names: Vec<_> = (0..count).map(|number| format!("class {number}")).collect();
    serde_json::from_value(serde_json::json!(names)).unwrap()
}

fn small(outputs: usize) -> Saved {
    let (card, _) = embedded::model().unwrap();
    let card = ModelCard {
        architecture: Architecture::Cnn,
        classes: classes(outputs.max(2)),
        preprocessing: Preprocessing::UNIT_180,
        neighbours: None,
        ..card
    };
    save(card, Cnn::random(outputs, 1, Device::Cpu).tensors())
}

fn vgg16() -> Saved {
    let (card, _) = embedded::model().unwrap();
    let mut tensors = Tensors::new();
    let mut add = |layer: &str, shape: &[i64]| {
        let options = (Kind::Float, Device::Cpu);
        tensors.insert(format!("{layer}.weight"), Tensor::zeros(shape, options));
        tensors.insert(format!("{layer}.bias"), Tensor::zeros(&shape[..1], options));
    };
    let mut channels = 3;
    for (block, (count, filters)) in (1..).zip([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]) {
        for convolution in 1..=count {
            add(&format!("block{block}_conv{convolution}"), &[filters, channels, 3, 3]);
            channels = filters;
        }
    }
    add("hidden", &[256, 12_800]);
    add("output", &[3, 256]);
    let card = ModelCard {
        architecture: Architecture::Base(&VGG16),
        classes: classes(3),
        preprocessing: Preprocessing::square(180, Normalization::Caffe),
        neighbours: None,
        ..card
    };
    save(card, tensors)
}

fn lite0() -> Saved {
    let (card, tensors) = embedded::model().unwrap();
    save(card, tensors)
}

fn read(saved: &Saved, input: Input) -> ModelProto {
    let file = export(&saved.path, None, input).unwrap();
    let mut bytes = Vec::new();
    file.write_to(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, file.bytes);
    ModelProto::decode(&*bytes).unwrap()
}

fn graph_of(model: &ModelProto) -> &GraphProto {
    model.graph.as_ref().unwrap()
}

/// The name, type and shape of inputs or outputs.
fn signature(values: &[ValueInfoProto]) -> Vec<String> {
    let text = |value: &ValueInfoProto| {
        let tensor = value.r#type.as_ref().and_then(|it| it.tensor_type.as_ref()).unwrap();
        let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
        let dims = dims.map(|dim| match (dim.dim_value, &dim.dim_param) {
            (Some(size), None) => size.to_string(),
            (None, Some(name)) => name.clone(),
            other => panic!("{other:?}"),
        });
        let dims: Vec<_> = dims.collect();
        format!("{} {} [{}]", value.name, tensor.elem_type.unwrap(), dims.join(", "))
    };
    values.iter().map(text).collect()
}

/// All weights of the model file are in it, as fp32, and each initializer has as many bytes as its
/// shape says.
fn assert_has_all_weights(saved: &Saved, model: &ModelProto) {
    let graph = graph_of(model);
    let by_name: BTreeMap<&str, &TensorProto> =
        graph.initializer.iter().map(|tensor| (&*tensor.name, tensor)).collect();
    assert_eq!(by_name.len(), graph.initializer.len());
    for tensor in &graph.initializer {
        let size = match tensor.data_type.unwrap() {
            1 => 4,
            3 => 1,
            7 => 8,
            other => panic!("{other}"),
        };
        let count: i64 = tensor.dims.iter().product();
        assert_eq!(tensor.raw_data.len() as i64, count * size, "{}", tensor.name);
    }
    for (name, tensor) in &saved.tensors {
        let stored = by_name[&**name];
        assert_eq!(stored.dims, tensor.size(), "{name}");
        let (kind, size) = match tensor.kind() {
            Kind::Int8 => (Kind::Int8, 1),
            _ => (Kind::Float, 4),
        };
        let tensor = tensor.detach().to_kind(kind).contiguous();
        let mut bytes = vec![0; tensor.numel() * size];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        assert!(stored.raw_data == bytes, "{name} differs");
    }
}

#[test]
fn a_file_has_all_weights_and_says_what_goes_in_and_out() {
    let none = Vec::<String>::new();
    let distance = vec!["distance 1 [n]".to_owned()];
    for (saved, side, classes, more) in [
        (small(1), 180, 2, &none),
        (small(4), 180, 4, &none),
        (vgg16(), 180, 3, &none),
        (lite0(), 224, 2, &distance),
    ] {
        let model = read(&saved, Input::Tensor);
        assert_has_all_weights(&saved, &model);
        let graph = graph_of(&model);
        assert_eq!(signature(&graph.input), [format!("pixels 2 [n, {side}, {side}, 3]")]);
        let mut outputs = vec![format!("probabilities 1 [n, {classes}]"), "label 7 [n]".to_owned()];
        outputs.extend_from_slice(more);
        assert_eq!(signature(&graph.output), outputs);

        let model = read(&saved, Input::Image);
        assert_has_all_weights(&saved, &model);
        let graph = graph_of(&model);
        assert_eq!(signature(&graph.input), ["image 2 [height, width, 3]"]);
        assert_eq!(signature(&graph.output)[0], format!("probabilities 1 [1, {classes}]"));
        assert_eq!(graph.node.iter().filter(|node| node.op_type == "Resize").count(), 1);
    }
}

#[test]
fn the_metadata_has_the_labels_and_when_the_model_is_unsure() {
    let saved = lite0();
    let thresholds = AnswerThresholds { answer_above: Some(0.75), unlike_above: None };
    let file = export(&saved.path, Some(thresholds), Input::Image).unwrap();
    let mut bytes = Vec::new();
    file.write_to(&mut bytes).unwrap();
    let model = ModelProto::decode(&*bytes).unwrap();
    let properties: BTreeMap<_, _> =
        model.metadata_props.iter().map(|it| (&*it.key, &*it.value)).collect();
    assert_eq!(properties["labels"], r#"["cat","dog"]"#);
    assert_eq!(properties["answer_above"], "0.75");
    assert!(!properties.contains_key("unlike_above"));
    assert_eq!(properties["preprocessing_version"], saved.card.preprocessing.version.to_string());
    let own = read(&saved, Input::Image);
    let unlike = own.metadata_props.iter().find(|it| it.key == "unlike_above").unwrap();
    let unlike: f64 = unlike.value.parse().unwrap();
    assert_eq!(Some(unlike), saved.card.thresholds.unlike_above);
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let export_error = |change: &dyn Fn(&mut Tensors)| {
        let Saved { card, mut tensors, .. } = small(1);
        change(&mut tensors);
        export(&save(card, tensors).path, None, Input::Tensor).unwrap_err().to_string()
    };
    let vector = |length| Tensor::zeros([length], (Kind::Float, Device::Cpu));
    let error = export_error(&|it| drop(it.remove("conv2.bias")));
    assert!(error.ends_with("tensor `conv2.bias` is missing"), "{error}");
    let error = export_error(&|it| drop(it.insert("conv2.bias".to_owned(), vector(63))));
    assert!(error.contains("`conv2.bias` has shape [63], expected [64]"), "{error}");
    let error = export_error(&|it| drop(it.insert("more".to_owned(), vector(1))));
    assert!(error.contains("tensor `more` is unexpected"), "{error}");
}

#[test]
fn a_card_that_does_not_fit_its_network_is_an_error() {
    let export_error = |change: &dyn Fn(&mut ModelCard)| {
        let Saved { mut card, tensors, .. } = small(1);
        change(&mut card);
        export(&save(card, tensors).path, None, Input::Tensor).unwrap_err().to_string()
    };
    let error = export_error(&|card| card.temperature = Some(0.0));
    assert!(error.contains("temperature"), "{error}");
    for side in [0, 1, 45, 400] {
        let error = export_error(&|card| {
            (card.preprocessing.width, card.preprocessing.height) = (side, side);
        });
        assert!(
            error.contains("smaller than the kernel") || error.contains("`dense.weight`"),
            "{error}"
        );
    }
    let error = export_error(&|card| card.classes = classes(3));
    assert!(error.contains("`dense.weight`"), "{error}");
}

#[test]
fn a_graph_in_which_something_is_undefined_or_twice_is_refused() {
    let saved = small(1);
    let graph = || graph(&saved.card, StoredTensors::open(&saved.path).unwrap(), Input::Tensor);
    assert!(check::check(&graph().unwrap()).is_ok());

    let refused = |graph: &Graph| check::check(graph).unwrap_err().to_string();
    let mut undefined = graph().unwrap();
    undefined.proto.node.remove(1);
    assert!(refused(&undefined).contains("used before it is defined"));
    let mut out_of_order = graph().unwrap();
    out_of_order.proto.node.reverse();
    assert!(refused(&out_of_order).contains("used before it is defined"));
    let mut twice = graph().unwrap();
    twice.input("pixels", Element::Float, &[Dim::Size(1)], "");
    assert!(refused(&twice).contains("defined twice"));
    let mut unused = graph().unwrap();
    unused.floats("idle", &[1], &[0.0]);
    assert!(refused(&unused).contains("`idle` is never used"));
    let mut no_output = graph().unwrap();
    no_output.proto.output[0].name = "nothing".to_owned();
    assert!(refused(&no_output).contains("no node has"));
}
