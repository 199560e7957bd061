//! Random valid and invalid requests of all operations in the OpenAPI document.
//!
//! `scripts/fuzz-api` does this with Schemathesis, which also validates the responses.

use rand::{Rng, RngExt as _, seq::IndexedRandom as _};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    common::{form, photo, process::Process, tar},
    machine::{mb, memory},
    mutants::mutate,
    sandbox::{Client, Sandbox},
    scale::{Trial, rounds},
};

/// Names and ids, some of them valid.
const WORDS: [&str; 24] = [
    "pets",
    "default",
    "current",
    "best",
    "cat",
    "dog",
    "train",
    "auto",
    "scratch_cnn",
    "queued",
    "loss",
    "loss.svg",
    "classes.svg",
    "",
    " ",
    ".",
    "..",
    "%00",
    "%FF%FE",
    "%2F..%2F..%2Fetc",
    "null",
    "-1",
    "'; DROP TABLE jobs; --",
    "🐾",
];

const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "2",
    "160",
    "500",
    "501",
    "4294967296",
    "9223372036854775808",
    "1e999",
    "NaN",
    "0x10",
];

fn word(known: &[String], draws: &mut impl Rng) -> String {
    match draws.random_range(0..10) {
        0..=3 => known.choose(draws).cloned().unwrap_or_default(),
        4..=6 => (*WORDS.choose(draws).unwrap()).to_owned(),
        7 => (*NUMBERS.choose(draws).unwrap()).to_owned(),
        8 => "long".repeat(draws.random_range(1..700)),
        _ => (0..draws.random_range(1..12)).map(|_| draws.random_range('!'..'~')).collect(),
    }
}

/// A value of the schema, or sometimes of another.
fn value(document: &Value, schema: &Value, deep: u32, draws: &mut impl Rng) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#')).unwrap();
        return value(document, schema, deep, draws);
    }
    if deep > 6 || draws.random_ratio(1, 12) {
        return any(draws);
    }
    for choices in ["oneOf", "anyOf", "allOf", "enum"] {
        if let Some(choice) = schema[choices].as_array().and_then(|all| all.choose(draws)) {
            let is_value = choices == "enum";
            return if is_value {
                choice.clone()
            } else {
                value(document, choice, deep + 1, draws)
            };
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.choose(draws).unwrap().clone(),
        kind => kind.clone(),
    };
    match kind.as_str() {
        Some("object") => {
            let mut object = Map::new();
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                if draws.random_ratio(4, 5) {
                    object.insert(name.clone(), value(document, schema, deep + 1, draws));
                }
            }
            Value::Object(object)
        }
        Some("array") => {
            let count = draws.random_range(0..4);
            (0..count).map(|_| value(document, &schema["items"], deep + 1, draws)).collect()
        }
        Some("string") => json!(word(&["pets".to_owned()], draws)),
        Some("integer") => json!(draws.random_range(-3..400)),
        Some("number") => json!(draws.random_range(-1.0..2.0)),
        Some("boolean") => json!(draws.random::<bool>()),
        _ => any(draws),
    }
}

fn any(draws: &mut impl Rng) -> Value {
    match draws.random_range(0..8) {
        0 => Value::Null,
        1 => json!(draws.random::<i64>()),
        2 => json!(1e308),
        3 => json!([[], {}, [null]]),
        4 => json!({ "": { "a": [] } }),
        5 => json!("x".repeat(draws.random_range(0..3_000))),
        6 => json!(draws.random::<bool>()),
        _ => json!(word(&[], draws)),
    }
}

/// A valid or corrupted body of the operation, and its media type.
fn body(document: &Value, operation: &Value, draws: &mut impl Rng) -> Option<(String, Vec<u8>)> {
    let content = operation["requestBody"]["content"].as_object()?;
    let (media_type, described) = content.iter().nth(draws.random_range(0..content.len()))?;
    let number = draws.random_range(0..50);
    let (media_type, bytes) = match media_type.as_str() {
        "application/json" => {
            let json = value(document, &described["schema"], 0, draws);
            (media_type.clone(), json.to_string().into_bytes())
        }
        "multipart/form-data" => {
            let files = [("train/cat/x.jpg", photo(number)), ("dog.2.jpg", photo(number + 1))];
            ("multipart/form-data; boundary=a-form".to_owned(), form(&files))
        }
        _ if draws.random() => (media_type.clone(), tar(&[("cat/x.jpg", photo(number))])),
        _ => (media_type.clone(), photo(number)),
    };
    let bytes = if draws.random_ratio(1, 3) { mutate(bytes, b"{}[]", draws) } else { bytes };
    let media_type = if draws.random_ratio(1, 12) { word(&[], draws) } else { media_type };
    Some((media_type, bytes))
}

/// Creates something of each kind; returns names and ids.
async fn known(server: &Process, client: &Client) -> Vec<String> {
    server.pets(4).await;
    let job = server.job(json!({ "epochs": 1, "batch_size": 8 })).await;
    server.ended(&job).await;
    let mut known = vec!["pets".to_owned(), job];
    for list in ["/datasets", "/models", "/datasets/pets/images"] {
        let items = client.all(list).await;
        known.extend(items.iter().take(3).map(|item| item["id"].as_str().unwrap().to_owned()));
    }
    known
}

#[tokio::test]
async fn whatever_is_asked_is_answered_without_a_failure() {
    let trial = Trial::new("requests of the API");
    let sandbox = Sandbox::new();
    // No server listens there: weights must not be downloaded.
    let server = sandbox.spawn(sandbox.program().env("HTTPS_PROXY", "http://127.0.0.1:9"));
    let client = Client::of(&server);
    let known = known(&server, &client).await;
    let document = client.get("/openapi.json").await;
    let operations: Vec<(&String, &String, &Value)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (path, method, operation))
        })
        .collect();
    let rounds = rounds(1_500, 40_000);
    let (mut good, mut before) = (0, 0);
    for round in 0..rounds {
        let mut draws = trial.draws(round);
        let (template, method, operation) = operations.choose(&mut draws).unwrap();
        let mut path = String::new();
        for part in template.split_inclusive('}') {
            let (fixed, name) = part.split_once('{').unwrap_or((part, ""));
            path += fixed;
            if !name.is_empty() {
                path += &word(&known, &mut draws).replace(['/', '?', '#'], "-");
            }
        }
        let mut query = Vec::new();
        let parameters = operation["parameters"].as_array().map_or(&[][..], |all| all);
        for parameter in parameters.iter().filter(|it| it["in"] == "query") {
            if draws.random_ratio(1, 3) {
                let name = parameter["name"].as_str().unwrap().to_owned();
                query.push((name, word(&known, &mut draws)));
            }
        }
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let mut request = client.request(method.clone(), &path).query(&query);
        if draws.random_ratio(1, 4) {
            request = request.header("last-event-id", draws.random_range(-2..20));
        }
        if let Some((media_type, bytes)) = body(&document, operation, &mut draws) {
            if let Ok(media_type) = reqwest::header::HeaderValue::from_str(&media_type) {
                request = request.header("content-type", media_type);
            }
            request = request.body(bytes);
        }
        // Some words are not valid in a URL.
        let Ok(request) = request.build() else { continue };
        let asked = format!("round {round}: {method} {}", request.url());
        let response = client.execute(request).await;
        let response = response.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let status = response.status().as_u16();
        let media_type = response.headers().get("content-type");
        let is_stream = media_type.is_some_and(|it| it == "text/event-stream");
        let answer = if is_stream { Vec::new() } else { response.bytes().await.unwrap().to_vec() };
        let answer = String::from_utf8_lossy(&answer);
        assert!(status < 500, "{asked}: {status} {answer}");
        good += u32::from(status < 300);
        end_jobs(&client, round).await;
        if round == rounds / 5 {
            before = memory(server.pid());
        }
    }
    assert_eq!(client.predict("?model=default", photo(1)).await.unwrap().0, 200);
    let after = memory(server.pid());
    sandbox.assert_no_panic();
    let figures = format!(
        "{rounds} requests of {} operations, {good} successful; memory {} after {}, {} at the end",
        operations.len(),
        mb(before),
        rounds / 5,
        mb(after)
    );
    assert!(after < before + super::mutants::GROWTH, "{figures}");
    trial.ends(figures);
}

/// Cancels jobs now and then.
async fn end_jobs(client: &Client, round: u32) {
    if round % 50 != 49 {
        return;
    }
    for status in ["queued", "running"] {
        let jobs = client.get(&format!("/jobs?limit=500&status={status}")).await;
        for job in jobs["items"].as_array().unwrap() {
            let path = format!("/jobs/{}/cancel", job["id"].as_str().unwrap());
            client.ask(Method::POST, &path, None).await.unwrap();
        }
    }
}
