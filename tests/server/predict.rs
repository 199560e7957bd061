//! Predictions and models, on a model that a real trainer made.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use crate::common::{encode, huge_png, photo, picture, process::Process};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use image::ImageFormat;
use reqwest::{Method, multipart};
use serde_json::{Value, json};

async fn predict(server: &Process, media_type: &str, body: Vec<u8>) -> (u16, Value) {
    let request = server.request(Method::POST, "/predict").header("content-type", media_type);
    let answer = request.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

fn form(photos: &[(&str, Vec<u8>)]) -> multipart::Form {
    photos.iter().fold(multipart::Form::new(), |form, (name, bytes)| {
        let part = multipart::Part::bytes(bytes.clone()).file_name((*name).to_owned());
        form.part("any", part)
    })
}

/// The same but for the order of summing, which differs with the number of images.
#[track_caller]
fn assert_near(one: &Value, other: &Value) {
    assert_eq!(one["label"], other["label"]);
    let [one, other] = [one, other].map(|prediction| prediction["probability"].as_f64().unwrap());
    assert!((one - other).abs() < 1e-5, "{one} {other}");
}

#[tokio::test]
async fn the_three_forms_of_a_request_get_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = Process::with_models(folder.path()).await;
    let image = photo(1);

    let (status, raw) = predict(&server, "image/jpeg", image.clone()).await;
    assert_eq!(status, 200, "{raw}");
    let prediction = &raw["predictions"][0];
    let probabilities = [&prediction["probabilities"]["cat"], &prediction["probabilities"]["dog"]];
    let [cat, dog] = probabilities.map(|probability| probability.as_f64().unwrap());
    assert!((cat + dog - 1.0).abs() < 1e-9);
    assert_eq!(prediction["label"], if dog >= 0.5 { "dog" } else { "cat" });
    assert_eq!(prediction["probability"].as_f64().unwrap(), cat.max(dog));
    assert!(raw["timing_ms"]["total"].as_f64().unwrap() > 0.0);

    let (_, untyped) = predict(&server, "application/octet-stream", image.clone()).await;
    assert_eq!(untyped["predictions"], raw["predictions"]);

    let body = json!({ "instances": [{ "b64": BASE64.encode(&image) }, { "b64": BASE64.encode(photo(2)) }] });
    let (_, json) = predict(&server, "application/json", body.to_string().into_bytes()).await;
    assert_near(&json["predictions"][0], prediction);

    let form = form(&[("two.jpg", photo(2)), ("one.jpg", image)]);
    let answer = server.request(Method::POST, "/predict").multipart(form).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["predictions"][0]["file_name"], "two.jpg");
    assert_near(&answer["predictions"][0], &json["predictions"][1]);
    assert_eq!(answer["predictions"][1]["file_name"], "one.jpg");
    assert_near(&answer["predictions"][1], prediction);
}

#[tokio::test]
async fn what_can_not_be_judged_is_refused_with_the_image_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = Process::with_models(folder.path()).await;
    let cut = photo(1)[..200].to_vec();
    for (media_type, body, status, code) in [
        ("image/jpeg", Vec::new(), 422, "empty_file"),
        ("image/jpeg", b"no image at all".to_vec(), 415, "unsupported_type"),
        ("image/jpeg", cut, 422, "corrupt_image"),
        ("image/png", huge_png(50_000, 50_000), 413, "too_many_pixels"),
        ("image/png", vec![0; 33 << 20], 413, "too_large"),
        ("text/plain", photo(1), 415, "unsupported_type"),
        ("application/json", b"{".to_vec(), 400, "malformed"),
        ("application/json", b"{\"instances\": [{\"b64\": \"!\"}]}".to_vec(), 422, "invalid_value"),
        ("application/json", b"{\"instances\": []}".to_vec(), 422, "no_image"),
    ] {
        let (got, problem) = predict(&server, media_type, body).await;
        assert_eq!((got, problem["code"].as_str().unwrap()), (status, code), "{problem}");
    }
    let bad = form(&[("good.jpg", photo(1)), ("bad.jpg", b"text".to_vec())]);
    let answer = server.request(Method::POST, "/predict").multipart(bad).send().await.unwrap();
    assert_eq!(answer.status(), 415);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["index"], 1);
    assert!(problem["detail"].as_str().unwrap().contains("bad.jpg"), "{problem}");
    let (status, problem) = server.ask(Method::POST, "/predict?model=nobody", None).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn a_label_is_explained_as_a_picture_and_as_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (server, names) = Process::with_models(folder.path()).await;
    let ask = async |query: &str, media_type: &str, body: Vec<u8>| {
        let request = server.request(Method::POST, &format!("/explain{query}"));
        request.header("content-type", media_type).body(body).send().await.unwrap()
    };
    let (_, predicted) = predict(&server, "image/jpeg", photo(1)).await;
    let predicted = &predicted["predictions"][0];
    let answer = ask("", "image/jpeg", photo(1)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "image/png");
    assert_eq!(answer.headers()["x-label"], predicted["label"].as_str().unwrap());
    let probability = answer.headers()["x-probability"].to_str().unwrap().parse::<f64>().unwrap();
    assert!((probability - predicted["probability"].as_f64().unwrap()).abs() < 1e-2);
    let painted = image::load_from_memory(&answer.bytes().await.unwrap()).unwrap();
    let original = image::load_from_memory(&photo(1)).unwrap();
    assert_eq!((painted.width(), painted.height()), (original.width(), original.height()));

    let query = format!("?format=json&model={}", names[0]);
    let body = json!({ "instances": [{ "b64": BASE64.encode(photo(1)) }] }).to_string();
    let answer: Value = ask(&query, "application/json", body.into()).await.json().await.unwrap();
    assert_eq!(answer["model"]["name"], names[0].as_str());
    assert_eq!((&answer["map"]["height"], &answer["map"]["width"]), (&json!(7), &json!(7)));
    let values = answer["map"]["values"].as_array().unwrap();
    assert_eq!(values.len(), 49);
    assert!(values.iter().all(|value| (0.0..=1.0).contains(&value.as_f64().unwrap())));

    let two = json!({ "instances": [{ "b64": "" }, { "b64": "" }] }).to_string();
    for (query, media_type, body, status, code) in [
        ("", "image/jpeg", Vec::new(), 422, "empty_file"),
        ("", "image/jpeg", b"text".to_vec(), 415, "unsupported_type"),
        ("", "application/json", br#"{"instances": []}"#.to_vec(), 422, "no_image"),
        ("?model=nobody", "image/jpeg", photo(1), 404, "not_found"),
        ("?format=tiff", "image/jpeg", photo(1), 422, "invalid_value"),
    ] {
        let answer = ask(query, media_type, body).await;
        assert_eq!(answer.status(), status, "{query} {code}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
    }
    assert!(matches!(ask("", "application/json", two.into()).await.status().as_u16(), 413 | 422));
}

#[tokio::test]
async fn models_are_pinned_named_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (server, names) = Process::with_models(folder.path()).await;
    let best = server.get("/models/current").await;
    assert_eq!(best["mode"], "best");
    let other = names.iter().find(|name| best["name"] != name.as_str()).unwrap();
    let rest = names.iter().find(|name| *name != other).unwrap();

    let asked = server.request(Method::POST, &format!("/predict?model={other}"));
    let asked = asked.header("content-type", "image/jpeg").body(photo(1)).send().await.unwrap();
    let asked: Value = asked.json().await.unwrap();
    assert_eq!(asked["model"]["name"], other.as_str());

    let pin =
        |model: &str| server.ask(Method::PUT, "/models/current", Some(json!({ "model": model })));
    let (status, current) = pin(other).await;
    assert_eq!((status, &current["mode"]), (200, &json!("pinned")));
    let (_, answer) = predict(&server, "image/jpeg", photo(1)).await;
    assert_eq!(answer["model"], asked["model"]);
    assert_eq!(answer["predictions"], asked["predictions"]);
    assert_eq!(pin("nobody").await.0, 404);
    assert_eq!(server.get("/models/current").await["name"], other.as_str());

    let (_, current) = pin("best").await;
    assert_eq!((&current["mode"], &current["id"]), (&json!("best"), &best["id"]));
    let path = format!("/models/{other}");
    assert_eq!(server.ask(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(server.ask(Method::GET, &path, None).await.0, 404);
    let left = server.get("/models").await;
    let left: Vec<_> = left["items"].as_array().unwrap().iter().map(|left| &left["name"]).collect();
    assert!(
        left.len() == 2 && left.contains(&&json!(rest)) && left.contains(&&json!("default")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_model_file_answers_without_a_server_and_one_that_drifted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (server, names) = Process::with_models(folder.path()).await;
    let path = format!("/models/{}/download", names[0]);
    let model = server.request(Method::GET, &path).send().await.unwrap().bytes().await.unwrap();
    let (file, image) = (folder.path().join("model.safetensors"), folder.path().join("photo.png"));
    fs::write(&file, &model).unwrap();
    fs::write(&image, encode(picture(3), ImageFormat::Png)).unwrap();
    let locally = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        command.args(["predict", "--json", "--model"]).arg(&file).arg(&image).output().unwrap()
    };

    let output = locally();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let local: Value = serde_json::from_slice(&output.stdout).unwrap();
    let asked = server.request(Method::POST, &format!("/predict?model={}", names[0]));
    let asked = asked.header("content-type", "image/png").body(fs::read(&image).unwrap());
    let remote: Value = asked.send().await.unwrap().json().await.unwrap();
    assert_eq!(local["probabilities"], remote["predictions"][0]["probabilities"]);

    // Another bias of the last layer: as well-formed as before, and no longer the model it was.
    let mut drifted = model.to_vec();
    let file_before = safetensors::SafeTensors::deserialize(&model).unwrap();
    let bias = file_before.tensor("dense.bias").unwrap();
    let place = bias.data().as_ptr() as usize - model.as_ptr() as usize;
    drifted[place..place + 4].copy_from_slice(&1.0_f32.to_le_bytes());
    fs::write(&file, &drifted).unwrap();
    let output = locally();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("canary image"), "{said}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let body = vec![0; 32 << 20];
    for path in ["/datasets/nothing/archive", "/nothing"] {
        let mut connection = TcpStream::connect(server.address()).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(&body).unwrap();
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404", "{path}");
    }
}

#[tokio::test]
async fn with_a_token_set_nothing_is_answered_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.env("PAWPRINT_API_TOKEN", "s3cret");
    let server = Process::spawn(&mut command, folder.path());
    assert_eq!(server.ask(Method::GET, "/healthz", None).await.0, 200);
    for path in ["/jobs", "/datasets", "/models", "/system", "/nothing"] {
        let (status, problem) = server.ask(Method::GET, path, None).await;
        assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")), "{path}");
        for (token, status) in
            [("Bearer wrong", 401), ("Bearer s3cret", 200), ("bearer s3cret", 200)]
        {
            let request = server.request(Method::GET, path).header("authorization", token);
            let expected = if path == "/nothing" && status == 200 { 404 } else { status };
            assert_eq!(request.send().await.unwrap().status(), expected, "{path} {token}");
        }
    }
}
