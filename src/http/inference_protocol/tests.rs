//! Requests that are in order, and many that are not.

use axum::{
    http::{HeaderValue, StatusCode},
    response::IntoResponse as _,
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::request::{Inference, Output, Requested, parse};

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
    assert_eq!(inference.outputs, expected.map(|(output, binary)| Requested { output, binary }));
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
        assert_eq!(refused(body.clone(), Some(&HeaderValue::from_static(wrong))), 400, "{wrong}");
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
        ("[".repeat(100_000), 422),
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
        (outputs(json!([{ "name": "label", "parameters": { "shared_memory_region": "x" } }])), 422),
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
