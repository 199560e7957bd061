//! Bodies as people send them, and what errors say of them: base64 in its forms, byte-order marks,
//! strings without end, slashes too many.

use crate::common::{Answer, IMAGES, Server, photo};
use axum::{
    body::Body,
    http::{Request, header},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

const INFER: &str = "/v2/models/current/infer";

/// The base64 of a photo as mail breaks it into lines.
fn lines(bytes: &[u8]) -> String {
    let text = BASE64.encode(bytes);
    let lines = text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap());
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

fn forms(bytes: &[u8]) -> Vec<String> {
    let text = BASE64.encode(bytes);
    vec![
        text.clone(),
        format!("data:image/jpeg;base64,{text}"),
        format!("data:;base64,{}", URL_SAFE_NO_PAD.encode(bytes)),
        lines(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        text.trim_end_matches('=').to_owned(),
    ]
}

async fn send_json(server: &Server, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    server.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn base64_is_read_in_every_form_and_on_every_route() {
    let server = Server::start().await;
    let plain = server.post("/predict", photo(1)).await.ok();
    let label = &plain["predictions"][0]["label"];
    let texts = forms(&photo(1));
    let mut instances: Vec<_> = texts.iter().map(|text| json!({ "b64": text })).collect();
    instances.extend(texts.iter().map(|text| json!(text)));
    instances.push(json!({ "image_bytes": { "b64": texts[0] } }));
    let count = instances.len();
    let answer = server.json("POST", "/predict", json!({ "instances": instances })).await.ok();
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), count);
    assert!(predictions.iter().all(|it| it["label"] == *label), "{answer}");

    for text in &texts {
        let body = json!({ "instances": [text] });
        let answer = server.json("POST", "/explain?format=json", body).await.ok();
        assert_eq!(answer["label"], *label);
    }
    let request = json!({ "inputs": [{
        "name": "image", "datatype": "BYTES", "shape": [texts.len()], "data": texts,
    }] });
    let answer = server.json("POST", INFER, request).await.ok();
    let labels = answer["outputs"][0]["data"].as_array().unwrap();
    assert_eq!(labels.len(), texts.len());
    assert!(labels.iter().all(|it| it == label));
}

#[tokio::test]
async fn base64_that_can_not_be_read_is_said_to_be_where_it_stands() {
    let server = Server::start().await;
    let good = BASE64.encode(photo(1));
    let mut broken = good.clone();
    broken.replace_range(17..18, "%");
    for (instance, said) in [
        (
            json!({ "b64": broken }),
            "instances[1].b64: invalid base64: character '%' at position 17",
        ),
        (json!(broken), "instances[1]: invalid base64: character '%' at position 17"),
        (json!("data:image/jpeg,%FF%D8"), "instances[1]: a data URL must have `;base64`"),
        (json!("data:text/html;base64,QUJD"), "instances[1]: a data URL must contain an image"),
        (json!({ "url": "http://example.org/cat.jpg" }), "instances[1]: missing field `b64`"),
        (json!(7), "instances[1]: invalid type: integer `7`"),
        (Value::Null, "instances[1]: invalid type: null"),
    ] {
        // `/explain` takes one image.
        let alone = said.replace("instances[1]", "instances[0]");
        for (path, instances, said) in
            [("/predict", json!([good, instance]), said), ("/explain", json!([instance]), &alone)]
        {
            let answer = server.json("POST", path, json!({ "instances": instances })).await;
            let problem = answer.problem(422, "invalid_value");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with(said), "{path}: {detail}");
        }
        let Some(text) = instance.as_str() else { continue };
        let request = json!({ "inputs": [{
            "name": "image", "datatype": "BYTES", "shape": [2], "data": [good, text],
        }] });
        let problem = server.json("POST", INFER, request).await.problem(422, "invalid_value");
        let reason = said.trim_start_matches("instances[1]: ");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("element 1 of `image`: {reason}")), "{detail}");
        assert_eq!(problem["index"], 1);
    }
}

#[tokio::test]
async fn json_may_begin_with_a_byte_order_mark_on_every_route() {
    let server = Server::start().await;
    let marked = |json: &Value| format!("\u{FEFF}{json}");
    send_json(&server, "/datasets", marked(&json!({ "name": "pets" }))).await.ok();
    let instances = json!({ "instances": [BASE64.encode(photo(1))] });
    send_json(&server, "/predict", marked(&instances)).await.ok();
    let request = json!({ "inputs": [{
        "name": "image", "datatype": "BYTES", "shape": [1], "data": [BASE64.encode(photo(1))],
    }] });
    send_json(&server, INFER, marked(&request)).await.ok();
    let mut head = request.clone();
    let input = head["inputs"][0].as_object_mut().unwrap();
    input.remove("data");
    input.insert("parameters".to_owned(), json!({ "binary_data_size": photo(1).len() + 4 }));
    let head = marked(&head);
    let body = [head.as_bytes(), &(photo(1).len() as u32).to_le_bytes(), &photo(1)].concat();
    let request = Request::post(INFER).header("inference-header-content-length", head.len());
    server.send(request.body(Body::from(body)).unwrap()).await.ok();

    let utf_16: Vec<u8> = instances.to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();
    for path in ["/predict", "/datasets", "/jobs", INFER] {
        let problem = send_json(&server, path, utf_16.clone()).await.problem(400, "malformed");
        assert!(problem["detail"].as_str().unwrap().contains("UTF-8"), "{problem}");
    }
}

#[tokio::test]
async fn no_error_repeats_much_of_what_came_in() {
    let server = Server::start().await;
    server.pets().await;
    let image = server.upload(IMAGES, &[("cat.0.jpg", photo(0))]).await.ok();
    assert_eq!(image["added"], 1);
    let image = server.listed("").await[0]["id"].as_str().unwrap().to_owned();
    let patch = format!("{IMAGES}/{image}");
    // Within a word, and as words, quotation marks and characters of several bytes.
    for long in ["x".repeat(100_000), "é`, \"x ".repeat(15_000)] {
        let input = |member: &str, value: &str| {
            let mut input = json!({
                "name": "image", "datatype": "BYTES", "shape": [1], "data": ["QUJD"],
            });
            input[member] = json!(value);
            json!({ "inputs": [input] })
        };
        let output = json!({
            "inputs": [{ "name": "image", "datatype": "BYTES", "shape": [1], "data": ["QUJD"] }],
            "outputs": [{ "name": long }],
        });
        for (method, path, body) in [
            ("POST", "/datasets", json!({ "name": long })),
            ("POST", "/datasets", json!({ "name": "a", "classes": [long, "b"] })),
            ("POST", "/datasets", json!({ &*long: 1 })),
            ("POST", "/datasets", json!({ "name": "a", &*long: 1 })),
            ("POST", "/jobs", json!({ "recipe": long, "dataset": "pets" })),
            ("POST", "/jobs", json!({ "recipe": "scratch_cnn", "dataset": long })),
            ("POST", "/jobs", json!({ "recipe": "scratch_cnn", "dataset": "pets", "name": long })),
            (
                "POST",
                "/jobs",
                json!({ "recipe": "scratch_cnn", "dataset": "pets", "params": { &*long: 1 } }),
            ),
            (
                "POST",
                "/jobs",
                json!({ "recipe": "scratch_cnn", "dataset": "pets", "params": { "epochs": long } }),
            ),
            (
                "POST",
                "/jobs",
                json!({
                    "recipe": "vgg16_finetune", "dataset": "pets", "params": { "head_from": long },
                }),
            ),
            ("PATCH", &patch, json!({ "label": long })),
            ("PATCH", &patch, json!({ "split": long })),
            ("PUT", "/models/current", json!({ "model": long })),
            ("POST", "/weights/vgg16/download", json!({ "source": long })),
            ("POST", "/predict", json!({ "instances": [long] })),
            ("POST", "/predict", json!({ "instances": { &*long: 1 } })),
            ("POST", INFER, input("name", &long)),
            ("POST", INFER, input("datatype", &long)),
            ("POST", INFER, input("shape", &long)),
            ("POST", INFER, input("data", &long)),
            ("POST", INFER, json!({ "inputs": long })),
            ("POST", INFER, json!({ &*long: [] })),
            ("POST", INFER, output),
        ] {
            assert_short(&server.json(method, path, body).await, &format!("{method} {path}"));
        }
        let word = long.replace(|c: char| !c.is_ascii_alphanumeric(), "y");
        let word = &word[..60_000];
        for path in [
            format!("/datasets/{word}"),
            format!("/datasets/{word}/images"),
            format!("/datasets/pets/images?split={word}"),
            format!("/datasets/pets/images?limit={word}"),
            format!("/datasets/pets/images?cursor={word}"),
            format!("/datasets/pets/charts/{word}"),
            format!("/images/{word}"),
            format!("/images/{image}/thumbnail?size={word}"),
            format!("/images/{image}/thumbnail?{word}=1"),
            format!("/jobs/{word}"),
            format!("/jobs?status={word}"),
            format!("/jobs?recipe={word}"),
            format!("/models/{word}"),
            format!("/v2/models/{word}"),
            format!("/v2/models/current/versions/{word}"),
            format!("/static/{word}"),
            format!("/docs/{word}"),
            format!("/{word}"),
        ] {
            assert_short(&server.get(&path).await, &path[..20]);
        }
        for path in [
            format!("{IMAGES}?split={word}"),
            format!("{IMAGES}?label={word}"),
            format!("{IMAGES}?{word}=1"),
            format!("/datasets/pets/archive?split={word}"),
            format!("/predict?model={word}"),
            format!("/explain?format={word}"),
        ] {
            let answer = server.upload(&path, &[("cat.0.jpg", photo(1))]).await;
            assert_short(&answer, &path[..20]);
        }
        for (name, path) in [
            (header::CONTENT_ENCODING.as_str(), "/predict"),
            (header::CONTENT_TYPE.as_str(), "/predict"),
            (header::CONTENT_TYPE.as_str(), IMAGES),
            ("inference-header-content-length", INFER),
        ] {
            let request = Request::post(path).header(name, word);
            assert_short(&server.send(request.body(Body::from("x")).unwrap()).await, name);
        }
        // Names of files stay as long as they may be elsewhere.
        let answer = server.upload("/predict", &[(word, b"text".to_vec())]).await;
        assert_short(&answer, "a file's name");
    }
}

/// Makes sure that an answer is a problem of few words.
#[track_caller]
fn assert_short(answer: &Answer, what: &str) {
    assert!(answer.status.is_client_error(), "{what}: {}", answer.status);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{what}");
    let problem = answer.json();
    for text in problem.as_object().unwrap().values().filter_map(Value::as_str) {
        let runs = text.split(|c: char| !matches!(c, 'x' | 'y'));
        let repeated =
            runs.map(str::len).max().unwrap_or(0).max(text.matches("é`, \"x ").count() * 7);
        assert!(repeated <= 210, "{what}: {repeated} in {text}");
        assert!(text.chars().count() <= 700, "{what}: {text}");
    }
}

#[tokio::test]
async fn strings_beyond_a_mebibyte_are_answered_with_a_problem_and_the_limits() {
    let server = Server::with(|config| config.max_image_bytes = 4 << 20).await;
    let long = "A".repeat(3 << 20);
    let request = |member: &str, value: Value| {
        let mut request = json!({ "inputs": [{
            "name": "image", "datatype": "BYTES", "shape": [1], "data": [BASE64.encode(photo(1))],
        }] });
        request["inputs"][0][member] = value;
        request
    };
    for (member, status, code) in [
        ("name", 422, "invalid_value"),
        ("datatype", 422, "invalid_value"),
        ("shape", 422, "invalid_value"),
        ("data", 422, "invalid_value"),
    ] {
        let answer = server.json("POST", INFER, request(member, json!(long))).await;
        let problem = answer.problem(status, code);
        assert_eq!(problem["error"], problem["detail"], "{member}");
    }
    let model = format!("/v2/models/{}/infer", &long[..60_000]);
    server.json("POST", &model, request("shape", json!([1]))).await.problem(404, "not_found");
    // An image of 3 MiB that is none; one that is larger than images may be; a body that is.
    let answer = server.json("POST", INFER, request("data", json!([long]))).await;
    answer.problem(415, "unsupported_type");
    let large = json!(["A".repeat(6 << 20)]);
    let problem = server.json("POST", INFER, request("data", large)).await;
    let problem = problem.problem(413, "too_large");
    assert!(problem["detail"].as_str().unwrap().contains("4194304 bytes"), "{problem}");
    assert_eq!((&problem["index"], &problem["error"]), (&json!(0), &problem["detail"]));
    let huge = json!(["A".repeat(17 << 20)]);
    let problem = server.json("POST", INFER, request("data", huge)).await;
    let problem = problem.problem(413, "too_large");
    assert!(problem["detail"].as_str().unwrap().contains("16777216 bytes"), "{problem}");
}

/// They are read first and queue then: who sends slowly holds nobody up.
#[tokio::test]
async fn a_client_that_sends_slowly_takes_no_place_in_the_queue() {
    let server = Server::with(|config| config.queue_capacity = 1.try_into().unwrap()).await;
    for (path, media_type) in [
        ("/predict", "image/jpeg"),
        ("/predict", "application/json"),
        ("/predict", "multipart/form-data; boundary=a-form"),
        ("/explain", "image/jpeg"),
        (INFER, "application/json"),
    ] {
        let body = futures::StreamExt::chain(
            futures::stream::iter([Ok::<_, std::io::Error>(b"--a-form\r\n".to_vec())]),
            futures::stream::pending(),
        );
        let request = Request::post(path).header(header::CONTENT_TYPE, media_type);
        let slow = server.send(request.body(Body::from_stream(body)).unwrap());
        let meanwhile = async {
            tokio::task::yield_now().await;
            server.post("/predict", photo(1)).await.ok();
        };
        tokio::select! {
            biased;
            _ = slow => unreachable!("the body has no end"),
            () = meanwhile => {}
        }
    }
}

#[tokio::test]
async fn a_slash_too_many_changes_nothing() {
    let server = Server::start().await;
    let plain = server.post("/predict", photo(1)).await.ok();
    for path in ["/predict/", "/predict//", "//predict", "/predict/?model=default"] {
        let answer = server.post(path, photo(1)).await.ok();
        assert_eq!(answer["predictions"], plain["predictions"], "{path}");
    }
    server.json("POST", "/datasets/", json!({ "name": "pets" })).await.ok();
    for path in [
        "/datasets/",
        "/datasets/pets/",
        "/datasets/pets/images/?limit=1",
        "/jobs/",
        "/v2/",
        "/v2/models/current/",
        "/healthz/",
        "/system/",
        "/openapi.json/",
        "/",
        "//",
    ] {
        assert!(server.get(path).await.status.is_success(), "{path}");
    }
    // The page of the documentation has links that count on its path.
    let docs = server.get("/docs/").await;
    assert_eq!(
        (docs.status.as_u16(), &docs.headers[header::LOCATION]),
        (308, &"../docs".parse().unwrap())
    );
    server.delete("/docs/").await.problem(405, "method_not_allowed");
    server.get("/nothing/").await.problem(404, "not_found");
    server.get("/predict/").await.problem(405, "method_not_allowed");
    let problem = server.get("/v2/models/nobody/").await.problem(404, "not_found");
    assert_eq!(problem["error"], problem["detail"]);

    let metrics = String::from_utf8(server.get("/metrics/").await.body).unwrap();
    assert!(metrics.contains("route=\"/predict\""), "{metrics}");
    assert!(!metrics.contains("route=\"/predict/\""), "{metrics}");
    let guarded = Server::with(|config| config.api_token = vec!["secret".to_owned()]).await;
    guarded.get("/datasets/").await.problem(401, "unauthorized");
    assert!(guarded.get("/healthz/").await.status.is_success());
}
