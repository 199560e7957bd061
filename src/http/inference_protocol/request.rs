//! The request of an inference: where its JSON ends, its id, and the outputs it wants.

use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    invalid, malformed, shared_memory,
    tensor::{self, Image, Input},
};
use crate::{
    domain::excerpt::Excerpt,
    http::{body, problem::Problem},
};

/// The header that says how many bytes of a body are JSON; the rest is binary.
pub const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// What a request asks, but for its images.
#[derive(Debug, PartialEq, Eq)]
pub struct Inference {
    /// Its id, to be repeated in the answer.
    pub id: Option<String>,
    /// The outputs it wants.
    pub outputs: Vec<Requested>,
}

/// An output that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requested {
    /// Which.
    pub output: Output,
    /// Whether as bytes behind the JSON.
    pub binary: bool,
}

/// What a model can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The likelier class of each image.
    Label,
    /// The probability of every class for each image.
    Probabilities,
}

impl Output {
    pub(super) const ALL: [Self; 2] = [Self::Label, Self::Probabilities];

    /// Its name in the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Probabilities => "probabilities",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Wire<'a> {
    id: Option<String>,
    parameters: Option<RequestParameters>,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    outputs: Option<Vec<WireOutput>>,
}

#[derive(Debug, Default, Deserialize)]
struct RequestParameters {
    binary_data_output: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct WireOutput {
    name: String,
    parameters: Option<OutputParameters>,
}

#[derive(Debug, Default, Deserialize)]
struct OutputParameters {
    binary_data: Option<bool>,
    classification: Option<u64>,
    shared_memory_region: Option<String>,
}

/// Reads a body whose JSON ends where the header says, or with the body; takes `most` images.
///
/// # Errors
/// 400 where the body is not in the protocol's form, 413 for more images, 422 for a request that
/// the models here can't answer.
pub fn parse<'a>(
    body: &'a Bytes,
    header_length: Option<&HeaderValue>,
    max_images: usize,
) -> Result<(Inference, Vec<Image<'a>>), Problem> {
    let json_length = header_length.map_or(Ok(body.len()), |it| length_of_json(it, body.len()))?;
    let wire: Wire<'a> = body::json(&body[..json_length])?;
    let outputs = requested(&wire)?;
    let [input] = wire.inputs.as_slice() else {
        return Err(invalid(format!(
            "the models here take one input, `image`; {} came",
            wire.inputs.len()
        )));
    };
    let images = tensor::images(input, body.slice(json_length..), max_images)?;
    Ok((Inference { id: wire.id, outputs }, images))
}

fn length_of_json(header: &HeaderValue, body: usize) -> Result<usize, Problem> {
    let length = header.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    length.filter(|&length| length <= body).ok_or_else(|| {
        malformed(format!(
            "Inference-Header-Content-Length must be the length of the JSON that the body begins with, of its {body} bytes at most, not `{}`",
            Excerpt(&String::from_utf8_lossy(header.as_bytes()))
        ))
    })
}

/// All outputs where none is named.
fn requested(wire: &Wire<'_>) -> Result<Vec<Requested>, Problem> {
    let parameters = wire.parameters.as_ref();
    let binary = parameters.and_then(|it| it.binary_data_output).unwrap_or(false);
    let named = wire.outputs.as_deref().unwrap_or_default();
    if named.is_empty() {
        return Ok(Output::ALL.map(|output| Requested { output, binary }).to_vec());
    }
    let mut outputs: Vec<Requested> = Vec::new();
    for WireOutput { name, parameters } in named {
        let parameters = parameters.as_ref();
        if parameters.is_some_and(|it| it.shared_memory_region.is_some()) {
            return Err(shared_memory());
        }
        if parameters.is_some_and(|it| it.classification.is_some_and(|count| count > 0)) {
            return Err(invalid("the classification extension is not supported: ask for `label`"));
        }
        let output = Output::ALL.into_iter().find(|output| output.as_str() == name);
        let output = output.ok_or_else(|| {
            let name = Excerpt(name);
            invalid(format!("there is no output `{name}`: `label` and `probabilities` are given"))
        })?;
        if outputs.iter().any(|earlier| earlier.output == output) {
            return Err(invalid(format!("the output `{name}` is asked for twice")));
        }
        let binary = parameters.and_then(|it| it.binary_data).unwrap_or(binary);
        outputs.push(Requested { output, binary });
    }
    Ok(outputs)
}
