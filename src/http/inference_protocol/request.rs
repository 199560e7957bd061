//! An inference request: where its JSON ends, its id, and the requested outputs.

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

/// The header with the number of JSON bytes of a body; the rest is binary.
pub const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// An inference request without its images.
#[derive(Debug, PartialEq, Eq)]
pub struct Inference {
    /// Its id, repeated in the response.
    pub id: Option<String>,
    /// The requested outputs.
    pub outputs: Vec<Requested>,
}

/// A requested output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requested {
    /// Which.
    pub output: Output,
    /// Whether as binary data after the JSON.
    pub binary: bool,
}

/// The outputs of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The predicted class of each image.
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

/// Reads a body whose JSON ends where the header says, or with the body; accepts `most` images.
///
/// # Errors
/// 400 if the body does not follow the protocol, 413 for more images, 422 for a request that the
/// models of this server don't support.
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
            "expected exactly one input, `image`; got {}",
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
            "Inference-Header-Content-Length must be the length of the leading JSON, at most {body} bytes; got `{}`",
            Excerpt(&String::from_utf8_lossy(header.as_bytes()))
        ))
    })
}

/// All outputs if none is named.
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
            return Err(invalid(
                "the classification extension is not supported; request the output `label`",
            ));
        }
        let output = Output::ALL.into_iter().find(|output| output.as_str() == name);
        let output = output.ok_or_else(|| {
            let name = Excerpt(name);
            invalid(format!("unknown output `{name}`; available: `label`, `probabilities`"))
        })?;
        if outputs.iter().any(|earlier| earlier.output == output) {
            return Err(invalid(format!("output `{name}` is requested twice")));
        }
        let binary = parameters.and_then(|it| it.binary_data).unwrap_or(binary);
        outputs.push(Requested { output, binary });
    }
    Ok(outputs)
}
