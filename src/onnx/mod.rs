//! A model as one ONNX file, for the runtimes of others: ONNX Runtime, OpenVINO, browsers, phones.
//!
//! `http::export` sends it, `pawprint export` writes it. The file is a model's network with its
//! preprocessing in front and its temperature and probabilities behind, in fp32; when the model is
//! unsure is in its metadata. It is written from the model file, without libtorch.

mod check;
mod file;
mod graph;
mod metadata;
mod network;
mod operators;
mod schema;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use file::{OnnxFile, Part};

use self::{
    graph::{Dim, Graph},
    operators::OPSET,
    schema::OperatorSetIdProto,
};
use crate::{
    domain::{
        excerpt::Excerpt, model::ModelCard, objective::Objective, selective::AnswerThresholds,
    },
    model_file,
    weights::{self, stored::StoredTensors},
};

/// The version of the format that has the operators.
const IR_VERSION: i64 = 8;

/// What a file takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Input {
    /// `image`: one photo of any size, `[height, width, 3]` bytes, RGB.
    #[default]
    Image,
    /// `pixels`: photos as [`crate::vision::prepare`] makes them, `[n, height, width, 3]` bytes, RGB.
    Tensor,
}

/// A string that names no input.
#[derive(Debug, thiserror::Error)]
#[error("input must be image or tensor, not `{}`", Excerpt(.0))]
pub struct UnknownInput(String);

impl std::str::FromStr for Input {
    type Err = UnknownInput;

    fn from_str(text: &str) -> Result<Self, UnknownInput> {
        match text {
            "image" => Ok(Self::Image),
            "tensor" => Ok(Self::Tensor),
            _ => Err(UnknownInput(text.to_owned())),
        }
    }
}

/// Why a model can't be written as ONNX.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file can't be read, or lacks weights.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// Its network doesn't fit together.
    #[error("the network is invalid: {0}")]
    Network(String),
}

/// The model in the file at `path` as ONNX, unsure as `thresholds` say, or as its card does.
///
/// Outputs: `probabilities` `[n, classes]`, `label` `[n]`, the index of the predicted class, and
/// `distance` `[n]`, that to the training images, if the model knows them.
///
/// # Errors
/// The file can't be read, or its weights don't fit its card.
pub fn export(
    path: &Path,
    thresholds: Option<AnswerThresholds>,
    input: Input,
) -> Result<OnnxFile, Error> {
    let mut card = model_file::load_card(path)?;
    card.thresholds = thresholds.unwrap_or(card.thresholds);
    let graph = graph(&card, StoredTensors::open(path)?, input)?;
    check::check(&graph)?;
    let model = schema::ModelProto {
        doc_string: metadata::description(&card, input),
        metadata_props: metadata::properties(&card),
        ..model()
    };
    OnnxFile::new(&model, graph)
}

/// The convolutions of the model in the file at `path` as the bytes of an ONNX file: from `pixels`, `[1,
/// height, width, 3]` bytes, RGB, to [`crate::architectures::Network::feature_maps`].
///
/// # Errors
/// As [`export`].
pub fn feature_maps(path: &Path) -> Result<Vec<u8>, Error> {
    let card = model_file::load_card(path)?;
    let mut graph = Graph::new(&card.name, StoredTensors::open(path)?);
    let pixels = graph.pixels(Dim::Size(1), &card.preprocessing);
    let images = graph.normalised(&pixels, card.preprocessing.normalise)?;
    let maps = graph.feature_maps(&images, card.architecture)?;
    graph.output(&maps, "the feature maps of the last convolution");
    graph.weights.leave_others();
    check::check(&graph)?;
    let file = OnnxFile::new(&model(), graph)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.bytes).unwrap_or_default());
    file.write_to(&mut bytes)
        .map_err(|source| weights::Error::Io { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// A file without a graph.
fn model() -> schema::ModelProto {
    schema::ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![OperatorSetIdProto { version: Some(OPSET), ..Default::default() }],
        producer_name: "pawprint".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}

fn graph(card: &ModelCard, weights: StoredTensors, input: Input) -> Result<Graph, Error> {
    let mut graph = Graph::new(&card.name, weights);
    let pixels = match input {
        Input::Image => {
            let photo = graph.photo();
            graph.resized(&photo, &card.preprocessing)?
        }
        Input::Tensor => graph.pixels(Dim::Any("n"), &card.preprocessing),
    };
    let scale = card.scale();
    if !(scale.is_finite() && scale > 0.0) {
        let temperature = card.temperature.unwrap_or_default();
        return Err(Error::Network(format!("its temperature is {temperature}")));
    }
    let objective = Objective::of(&card.classes);
    let images = graph.normalised(&pixels, card.preprocessing.normalise)?;
    let network::Outputs { logits, embeddings } =
        graph.network(&images, card.architecture, objective)?;
    let (probabilities, label) = graph.prediction(&logits, objective, scale)?;
    graph.output(&probabilities, "the probability of each class, in the order of `labels`");
    graph.output(&label, "the index of the predicted class in `labels`");
    if let Some(embeddings) = embeddings
        && let Some(distance) = graph.distance(&embeddings)?
    {
        graph.output(&distance, "the distance to the training images, 0 to 2");
    }
    Ok(graph)
}
