//! The request of an inference: where its JSON ends, its id, and the outputs it wants.

use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    invalid, malformed, shared_memory,
    tensor::{self, Image, Input},
};
use crate::http::{body, problem::Problem};

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
    const ALL: [Self; 2] = [Self::Label, Self::Probabilities];

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
    most: usize,
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
    let images = tensor::images(input, body.slice(json_length..), most)?;
    Ok((Inference { id: wire.id, outputs }, images))
}

fn length_of_json(header: &HeaderValue, body: usize) -> Result<usize, Problem> {
    let length = header.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    length.filter(|&length| length <= body).ok_or_else(|| {
        malformed(format!(
            "Inference-Header-Content-Length must be the length of the JSON that the body begins with, of its {body} bytes at most, not {header:?}"
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

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, response::IntoResponse as _};
    use serde_json::{Value, json};

    use super::*;

    const MOST: usize = 4;

    fn element(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
    }

    fn with_binary(request: &Value, binary: &[u8]) -> (Bytes, Option<HeaderValue>) {
        let json = request.to_string();
        let length = HeaderValue::from(json.len());
        ([json.as_bytes(), binary].concat().into(), Some(length))
    }

    fn refused(body: impl Into<Bytes>, header: Option<&HeaderValue>) -> StatusCode {
        let body = body.into();
        parse(&body, header, MOST).unwrap_err().into_response().status()
    }

    /// A request with the input changed by `change`.
    fn changed(change: impl FnOnce(&mut Value)) -> String {
        let mut request = json!({ "inputs": [
            { "name": "image", "datatype": "BYTES", "shape": [2], "data": ["YQ==", "Yg=="] },
        ] });
        change(&mut request);
        request.to_string()
    }

    fn binary(shape: &Value, size: u64) -> Value {
        json!({ "inputs": [{
            "name": "image", "datatype": "BYTES", "shape": shape,
            "parameters": { "binary_data_size": size },
        }] })
    }

    #[test]
    fn json_and_binary_say_the_same() {
        let all = |binary| Output::ALL.map(|output| Requested { output, binary }).to_vec();
        for (shape, data) in [
            (json!([2]), json!(["YQ==", "Yg=="])),
            (json!([2, 1]), json!(["YQ==", "Yg=="])),
            (json!([2, 1]), json!([["YQ=="], ["Yg=="]])),
        ] {
            let body = changed(|request| {
                request["inputs"][0]["shape"] = shape;
                request["inputs"][0]["data"] = data;
                request["id"] = "seven".into();
            });
            let body = Bytes::from(body);
            let (inference, images) = parse(&body, None, MOST).unwrap();
            assert_eq!(inference, Inference { id: Some("seven".to_owned()), outputs: all(false) });
            let images = images.into_iter().map(|image| image.bytes(0).unwrap());
            assert_eq!(images.collect::<Vec<_>>(), [&b"a"[..], b"b"]);
        }
        let tensor = [element(b"a"), element(b"b")].concat();
        let mut request = binary(&json!([2]), 10);
        request["parameters"] = json!({ "binary_data_output": true, "priority": 3 });
        let (body, header) = with_binary(&request, &tensor);
        let (inference, images) = parse(&body, header.as_ref(), MOST).unwrap();
        assert_eq!(inference, Inference { id: None, outputs: all(true) });
        let images = images.into_iter().map(|image| image.bytes(0).unwrap());
        assert_eq!(images.collect::<Vec<_>>(), [&b"a"[..], b"b"]);
    }

    #[test]
    fn an_output_of_its_own_mind_overrides_the_request() {
        let body = Bytes::from(changed(|request| {
            request["parameters"] = json!({ "binary_data_output": true });
            request["outputs"] = json!([
                { "name": "probabilities", "parameters": { "binary_data": false } },
                { "name": "label", "parameters": { "classification": 0 } },
            ]);
        }));
        let (inference, _) = parse(&body, None, MOST).unwrap();
        let expected = [(Output::Probabilities, false), (Output::Label, true)];
        assert_eq!(
            inference.outputs,
            expected.map(|(output, binary)| Requested { output, binary })
        );
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let tensor = element(b"abc");
        let cut = |size: usize| with_binary(&binary(&json!([1]), size as u64), &tensor[..size]);
        for size in 1..tensor.len() {
            let (body, header) = cut(size);
            assert_eq!(refused(body, header.as_ref()), 400, "{size} bytes");
        }
        let (body, header) = cut(tensor.len());
        assert!(parse(&body, header.as_ref(), MOST).is_ok());
        for wrong in ["0", "-1", "1e9", "", "99999", "18446744073709551616", "7"] {
            assert_eq!(
                refused(body.clone(), Some(&HeaderValue::from_static(wrong))),
                400,
                "{wrong}"
            );
        }
        assert_eq!(refused(body, None), 400);
        for (size, bytes) in [
            (0, &tensor[..]),
            (6, &tensor),
            (8, &tensor),
            (u64::MAX, &tensor),
            (8, &[0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4]),
        ] {
            let (body, header) = with_binary(&binary(&json!([1]), size), bytes);
            assert_eq!(refused(body, header.as_ref()), 400, "{size}");
        }
    }

    #[test]
    fn shapes_that_lie_are_refused() {
        let two = [element(b"a"), element(b"b")].concat();
        for (shape, status) in [
            (json!([1]), 422),
            (json!([3]), 422),
            (json!([0]), 422),
            (json!([5]), 413),
            (json!([u64::MAX]), 413),
            (json!([]), 422),
            (json!([2, 2]), 422),
            (json!([1, 2]), 422),
            (json!([2, 1, 1]), 422),
            (json!([-1]), 422),
            (json!([2.5]), 422),
            (json!("2"), 422),
            (Value::Null, 422),
            (json!(vec![1; 1_000]), 422),
        ] {
            let (body, header) = with_binary(&binary(&shape, 10), &two);
            assert_eq!(refused(body, header.as_ref()), status, "{shape}");
            let text = changed(|request| request["inputs"][0]["shape"] = shape.clone());
            assert_eq!(refused(text, None), status, "{shape}");
        }
    }

    #[test]
    fn what_no_model_here_takes_is_refused() {
        let input = |member: &'static str, value: Value| {
            changed(move |request| request["inputs"][0][member] = value)
        };
        let outputs = |value: Value| changed(move |request| request["outputs"] = value);
        for (body, status) in [
            ("{".to_owned(), 400),
            ("{}".to_owned(), 422),
            ("[]".to_owned(), 422),
            ("[".repeat(100_000), 400),
            (changed(|request| request["inputs"] = json!([])), 422),
            (
                changed(|request| {
                    let twice = request["inputs"][0].clone();
                    request["inputs"].as_array_mut().unwrap().push(twice);
                }),
                422,
            ),
            (input("name", "picture".into()), 422),
            (input("datatype", "FP32".into()), 422),
            (input("datatype", "UINT8".into()), 422),
            (input("data", json!([1, 2])), 422),
            (input("data", json!([])), 422),
            (input("data", json!("YQ==")), 422),
            (input("data", json!({ "b64": "YQ==" })), 422),
            (input("data", Value::Null), 422),
            (input("parameters", json!({ "binary_data_size": 0 })), 422),
            (input("parameters", json!({ "binary_data_size": "9" })), 422),
            (input("parameters", json!({ "shared_memory_region": "here" })), 422),
            (outputs(json!([{ "name": "logits" }])), 422),
            (outputs(json!([{ "name": "label" }, { "name": "label" }])), 422),
            (outputs(json!([{ "name": "label", "parameters": { "classification": 2 } }])), 422),
            (
                outputs(
                    json!([{ "name": "label", "parameters": { "shared_memory_region": "x" } }]),
                ),
                422,
            ),
        ] {
            assert_eq!(refused(body.clone(), None), status, "{body:.200}");
        }
        let body = Bytes::from(input("data", json!(["YQ==", "not base64"])));
        let (_, images) = parse(&body, None, MOST).unwrap();
        let statuses = images.into_iter().map(|image| image.bytes(1));
        let statuses = statuses.map(|image| image.map_err(|it| it.into_response().status()));
        assert_eq!(statuses.last().unwrap().unwrap_err(), 422);
    }

    proptest::proptest! {
        #[test]
        fn any_binary_is_taken_or_refused(bytes: Vec<u8>, count in 0..=MOST) {
            let (body, header) = with_binary(&binary(&json!([count]), bytes.len() as u64), &bytes);
            if let Ok((_, images)) = parse(&body, header.as_ref(), MOST) {
                let images = images.into_iter().map(|image| element(&image.bytes(0).unwrap()));
                proptest::prop_assert_eq!(images.collect::<Vec<_>>().concat(), bytes);
            }
        }
    }
}
