//! The Open Inference Protocol under `/v2`, on a model that a real trainer made.
#![cfg(target_os = "linux")]

use std::process::Command;

use crate::common::{Server, huge_png, photo, process::Process};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::Method;
use serde_json::{Value, json};

const INFER: &str = "/v2/models/current/infer";

async fn with_model(folder: &std::path::Path) -> (Process, Value) {
    let server = Process::start(folder);
    server.pets(4).await;
    let id = server.job(json!({ "epochs": 1, "batch_size": 8, "seed": 1 })).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let model = server.get("/models/current").await;
    (server, model)
}

fn element(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

/// A request in JSON.
fn in_json(photos: &[Vec<u8>]) -> Value {
    let data: Vec<_> = photos.iter().map(|photo| BASE64.encode(photo)).collect();
    json!({ "inputs": [
        { "name": "image", "datatype": "BYTES", "shape": [photos.len()], "data": data },
    ] })
}

/// An answer: its status, its JSON, and what follows that.
async fn send(request: reqwest::RequestBuilder) -> (u16, Value, Vec<u8>) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let length = answer.headers().get("inference-header-content-length");
    let length = length.map(|length| length.to_str().unwrap().parse().unwrap());
    let mut body = answer.bytes().await.unwrap().to_vec();
    let binary = body.split_off(length.unwrap_or(body.len()));
    (status, serde_json::from_slice(&body).unwrap(), binary)
}

/// Sends the photos in binary; `more` is added to the request.
async fn infer_binary(server: &Process, photos: &[Vec<u8>], more: Value) -> (u16, Value, Vec<u8>) {
    let tensor: Vec<u8> = photos.iter().flat_map(|photo| element(photo)).collect();
    let mut head = json!({ "inputs": [{
        "name": "image", "datatype": "BYTES", "shape": [photos.len(), 1],
        "parameters": { "binary_data_size": tensor.len() },
    }] });
    head.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let head = head.to_string();
    let request = server.request(Method::POST, INFER);
    let request = request.header("Inference-Header-Content-Length", head.len());
    send(request.body([head.as_bytes(), &tensor].concat())).await
}

#[tokio::test]
async fn both_forms_get_what_predict_says() {
    let folder = tempfile::tempdir().unwrap();
    let (server, model) = with_model(folder.path()).await;
    let photos = [photo(1), photo(2)];
    let instances = photos.each_ref().map(|photo| json!({ "b64": BASE64.encode(photo) }));
    let (_, predicted) = server.post("/predict", json!({ "instances": instances })).await;
    let predicted = predicted["predictions"].as_array().unwrap();
    let labels: Vec<_> = predicted.iter().map(|it| it["label"].as_str().unwrap()).collect();
    let probabilities: Vec<_> = predicted
        .iter()
        .flat_map(|it| {
            ["cat", "dog"].map(|class| it["probabilities"][class].as_f64().unwrap() as f32)
        })
        .collect();

    for name in ["current", model["name"].as_str().unwrap(), model["id"].as_str().unwrap()] {
        for path in ["infer", "versions/1/infer"] {
            let mut request = in_json(&photos);
            request["id"] = "seven".into();
            let path = format!("/v2/models/{name}/{path}");
            let (status, answer) = server.post(&path, request).await;
            assert_eq!(status, 200, "{answer}");
            let given: Vec<f32> =
                serde_json::from_value(answer["outputs"][1]["data"].clone()).unwrap();
            assert_eq!(given, probabilities);
            assert_eq!(
                answer,
                json!({
                    "model_name": model["name"],
                    "model_version": "1",
                    "id": "seven",
                    "outputs": [
                        { "name": "label", "datatype": "BYTES", "shape": [2], "data": labels },
                        {
                            "name": "probabilities", "datatype": "FP32", "shape": [2, 2],
                            "data": answer["outputs"][1]["data"],
                        },
                    ],
                })
            );
        }
    }

    let numbers: Vec<u8> = probabilities.iter().flat_map(|it| it.to_le_bytes()).collect();
    let words: Vec<u8> = labels.iter().flat_map(|label| element(label.as_bytes())).collect();
    let everything = json!({ "parameters": { "binary_data_output": true } });
    let (status, answer, binary) = infer_binary(&server, &photos, everything).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(binary, [words.clone(), numbers.clone()].concat());
    assert_eq!(answer["outputs"][1]["parameters"], json!({ "binary_data_size": 16 }));
    assert_eq!(answer["outputs"][1]["data"], Value::Null);
    assert_eq!(answer["id"], Value::Null);

    let mixed = json!({ "outputs": [
        { "name": "probabilities", "parameters": { "binary_data": true } },
        { "name": "label" },
    ] });
    let (_, answer, binary) = infer_binary(&server, &photos, mixed).await;
    assert_eq!(binary, numbers);
    assert_eq!(answer["outputs"][1]["data"], json!(labels));

    let one = json!({ "outputs": [{ "name": "label", "parameters": { "binary_data": false } }] });
    let (_, answer, binary) = infer_binary(&server, &photos, one).await;
    assert!(binary.is_empty());
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_can_not_be_answered_is_refused_in_the_clients_words() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = with_model(folder.path()).await;
    let text = b"no image at all".to_vec();
    let many = vec![photo(1); 65];
    let large = vec![vec![0; (32 << 20) + 1]];
    for (photos, status, code) in [
        (vec![photo(1), text], 415, "unsupported_type"),
        (vec![Vec::new()], 422, "empty_file"),
        (vec![photo(1)[..200].to_vec()], 422, "corrupt_image"),
        (vec![huge_png(50_000, 50_000)], 413, "too_many_pixels"),
        (large, 413, "too_large"),
        (many, 413, "too_many_images"),
        (Vec::new(), 422, "no_image"),
    ] {
        let (got, problem, _) = infer_binary(&server, &photos, json!({})).await;
        assert_eq!((got, problem["code"].as_str().unwrap()), (status, code), "{problem}");
        assert_eq!(problem["error"], problem["detail"]);
        let (got, problem) = server.post(INFER, in_json(&photos)).await;
        assert_eq!((got, problem["code"].as_str().unwrap()), (status, code), "{problem}");
    }
    let body = in_json(&[photo(1)]).to_string();
    let compressed = crate::common::gzip(body.as_bytes());
    let request = server.request(Method::POST, INFER).header("content-encoding", "gzip");
    assert_eq!(send(request.body(compressed.clone())).await.0, 200);
    let request = server.request(Method::POST, INFER).header("content-encoding", "compress");
    let (status, problem, _) = send(request.body(compressed)).await;
    assert_eq!((status, &problem["code"]), (415, &json!("unsupported_encoding")));
    assert_eq!(problem["error"], problem["detail"]);
    let request = server.request(Method::POST, INFER).header("content-encoding", "identity");
    assert_eq!(send(request.body(body.clone())).await.0, 200);
    let request = server.request(Method::POST, INFER);
    let request = request.header("Inference-Header-Content-Length", body.len() + 1);
    assert_eq!(send(request.body(body)).await.0, 400);

    for (method, path, status) in [
        (Method::GET, "/v2/models/nobody", 404),
        (Method::GET, "/v2/models/nobody/ready", 404),
        (Method::POST, "/v2/models/nobody/infer", 404),
        (Method::GET, "/v2/models/current/versions/2", 404),
        (Method::GET, "/v2/models/current/versions/2/ready", 404),
        (Method::POST, "/v2/models/current/versions/2/infer", 404),
        (Method::GET, "/v2/nothing", 404),
        (Method::DELETE, "/v2/models/current", 405),
    ] {
        let (got, problem) = server.ask(method, path, None).await;
        assert_eq!(got, status, "{path}: {problem}");
        assert_eq!(problem["error"], problem["detail"], "{path}");
        assert!(problem["error"].is_string(), "{path}");
    }
    let (_, problem) = server.ask(Method::GET, "/nothing", None).await;
    assert_eq!(problem["error"], Value::Null);
}

#[tokio::test]
async fn a_server_tells_of_itself_and_of_its_models() {
    let folder = tempfile::tempdir().unwrap();
    let (server, model) = with_model(folder.path()).await;
    let about = server.get("/v2").await;
    assert_eq!(about["name"], "pawprint");
    assert_eq!(about["extensions"], json!(["binary_tensor_data"]));
    assert_eq!(server.get("/v2/health/live").await, json!({ "live": true }));
    assert_eq!(server.get("/v2/health/ready").await, json!({ "ready": true }));
    for path in ["/v2/models/current", "/v2/models/current/versions/1"] {
        let metadata = server.get(path).await;
        assert_eq!(
            metadata,
            json!({
                "name": model["name"],
                "versions": ["1"],
                "platform": "libtorch",
                "inputs": [{ "name": "image", "datatype": "BYTES", "shape": [-1] }],
                "outputs": [
                    { "name": "label", "datatype": "BYTES", "shape": [-1] },
                    { "name": "probabilities", "datatype": "FP32", "shape": [-1, 2] },
                ],
                "classes": ["cat", "dog"],
            })
        );
        assert_eq!(server.get(&format!("{path}/ready")).await["ready"], true);
    }
}

#[tokio::test]
async fn a_fresh_server_answers_with_the_model_in_the_binary() {
    let server = Server::start().await;
    assert_eq!(server.get("/v2/health/live").await.ok(), json!({ "live": true }));
    assert_eq!(server.get("/v2/health/ready").await.ok()["ready"], true);
    for model in ["current", "default"] {
        assert_eq!(server.get(&format!("/v2/models/{model}")).await.ok()["name"], "default");
    }
    let answer = server.json("POST", INFER, in_json(&[photo(1)])).await.ok();
    assert_eq!(answer["model_name"], "default");
}

#[tokio::test]
async fn the_token_is_asked_for_here_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.env("PAWPRINT_API_TOKEN", "s3cret");
    let server = Process::spawn(&mut command, folder.path());
    for path in ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/current"] {
        let (status, problem) = server.ask(Method::GET, path, None).await;
        assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")), "{path}");
        assert_eq!(problem["error"], problem["detail"]);
    }
}
