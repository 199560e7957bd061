//! The log of predictions: what is kept of them, what people say about them, and what is deleted.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]

mod cli;
#[path = "../common/mod.rs"]
mod common;
mod deleting;
mod drift;
mod feedback;
mod kills;
mod many;
mod photos;
mod queue;

use axum::{
    body::Body,
    http::{Request, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Answer, Server, photo};
use pawprint::domain::dataset::Digest;
use serde_json::{Value, json};

/// A server that logs predictions.
async fn logging() -> Server {
    Server::with(|config| config.prediction_log.prediction_log = true).await
}

/// A server that logs predictions and keeps their photos.
async fn keeping() -> Server {
    Server::with(|config| {
        config.prediction_log.prediction_log = true;
        config.prediction_log.prediction_log_photos = true;
    })
    .await
}

/// Predicts a photo, and gives the id of the prediction.
async fn predicted(server: &Server, photo: Vec<u8>) -> String {
    let answer = server.post("/predict", photo).await.ok();
    answer["predictions"][0]["id"].as_str().unwrap().to_owned()
}

/// The predictions in the log that the query lets through, newest first.
async fn listed(server: &Server, query: &str) -> Vec<Value> {
    let page = server.get(&format!("/predictions?{query}")).await.ok();
    page["items"].as_array().unwrap().clone()
}

/// Sends a request with a token.
async fn ask(
    server: &Server,
    token: &str,
    method: &str,
    uri: &str,
    body: impl Into<Body>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    if uri != "/predict" {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    server.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn nothing_is_logged_unless_it_is_asked_for() {
    let server = Server::start().await;
    let answer = server.post("/predict", photo(1)).await.ok();
    assert!(answer["predictions"][0].get("id").is_none(), "{answer}");
    assert_eq!(listed(&server, "").await, [] as [Value; 0]);
    let summary = server.get("/predictions/summary").await.ok();
    assert_eq!(summary["log"]["enabled"], false);
    assert_eq!(summary["models"], json!([]));
    server.get("/predictions/drift").await.problem(409, "prediction_log_off");
    let text = server.get("/metrics").await;
    assert!(!String::from_utf8(text.body).unwrap().contains("prediction_log"));
    assert!(!server.folder.path().join("predictions").exists());
}

#[tokio::test]
async fn each_image_of_every_route_is_a_row() {
    let server = logging().await;
    let photos: Vec<_> = (0..6).map(photo).collect();
    let mut ids = vec![predicted(&server, photos[0].clone()).await];
    let files = [("a.jpg", photos[1].clone()), ("b.jpg", photos[2].clone())];
    let form = server.upload("/predict?top=1&unsure=false", &files).await.ok();
    ids.extend(
        form["predictions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned()),
    );
    assert!(form["predictions"][0].get("unsure").is_none());
    let instances = json!({ "instances": [{ "b64": STANDARD.encode(&photos[3]) }] });
    let answer = server.json("POST", "/predict", instances).await.ok();
    ids.push(answer["predictions"][0]["id"].as_str().unwrap().to_owned());
    let tensor = json!({ "inputs": [{ "name": "image", "datatype": "BYTES", "shape": [2],
        "data": [STANDARD.encode(&photos[4]), STANDARD.encode(&photos[5])] }] });
    let answer = server.json("POST", "/v2/models/default/infer", tensor).await.ok();
    let of_tensor = answer["parameters"]["prediction_ids"].as_array().unwrap();
    ids.extend(of_tensor.iter().map(|id| id.as_str().unwrap().to_owned()));
    server.post("/explain", photos[0].clone()).await;

    let mut rows = listed(&server, "").await;
    rows.reverse();
    assert_eq!(rows.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    for (row, photo) in rows.iter().zip(&photos) {
        assert_eq!(row["sha256"], Digest::of(photo).to_string());
        assert_eq!(row["model"]["name"], "default");
        let probabilities = row["probabilities"].as_object().unwrap();
        assert_eq!(probabilities.keys().collect::<Vec<_>>(), ["cat", "dog"]);
        let of_label = probabilities[row["label"].as_str().unwrap()].as_f64().unwrap();
        assert!((of_label - row["probability"].as_f64().unwrap()).abs() < 1e-6);
        assert_eq!(row["unsure"], !row["reason"].is_null());
        assert!(row["distance"].as_f64().unwrap() > 0.0);
        assert!(
            row["timing_ms"]["total"].as_f64().unwrap()
                >= row["timing_ms"]["inference"].as_f64().unwrap()
        );
        assert_eq!(
            (&row["photo"], &row["feedback"], &row["token"]),
            (&json!(false), &json!(null), &json!(null))
        );
        assert_eq!(
            &server.get(&format!("/predictions/{}", row["id"].as_str().unwrap())).await.ok(),
            row
        );
    }
    assert_eq!((&rows[0]["file_name"], &rows[1]["file_name"]), (&json!(null), &json!("a.jpg")));
    // A request that fails is no prediction.
    server.post("/predict", "no image").await.problem(415, "unsupported_type");
    assert_eq!(listed(&server, "").await.len(), 6);
}

/// Whether a row meets a condition.
type Holds<'a> = &'a dyn Fn(&Value) -> bool;

#[tokio::test]
async fn filters_and_pages_give_each_prediction_once() {
    let server = logging().await;
    for number in 0..12 {
        predicted(&server, photo(number)).await;
    }
    let all = listed(&server, "").await;
    let id = |row: &Value| row["id"].as_str().unwrap().to_owned();
    for (number, row) in all.iter().enumerate() {
        let other = if row["label"] == "cat" { "dog" } else { "cat" };
        let label = if number % 3 == 0 { other } else { row["label"].as_str().unwrap() };
        if number % 2 == 0 {
            let path = format!("/predictions/{}/feedback", id(row));
            server.json("POST", &path, json!({ "label": label })).await.ok();
        }
    }
    let all = listed(&server, "").await;
    let contradicted =
        |row: &Value| !row["feedback"].is_null() && row["feedback"]["label"] != row["label"];
    let given = |row: &Value| !row["feedback"].is_null();
    let unsure = |row: &Value| row["unsure"] == true;
    let is_cat = |row: &Value| row["label"] == "cat";
    assert!(all.iter().any(contradicted) && all.iter().any(|row| given(row) && !contradicted(row)));
    type Rule<'a> = Vec<(String, Box<dyn Fn(&Value) -> bool + 'a>)>;
    let rules: [Rule<'_>; 5] = [
        vec![
            (String::new(), Box::new(|_| true)),
            ("contradicted=true".to_owned(), Box::new(contradicted)),
            ("contradicted=false".to_owned(), Box::new(|row| !contradicted(row))),
        ],
        vec![
            (String::new(), Box::new(|_| true)),
            ("with_feedback=true".to_owned(), Box::new(given)),
            ("with_feedback=false".to_owned(), Box::new(|row| !given(row))),
        ],
        vec![
            (String::new(), Box::new(|_| true)),
            ("unsure=true".to_owned(), Box::new(unsure)),
            ("unsure=false".to_owned(), Box::new(|row| !unsure(row))),
        ],
        vec![(String::new(), Box::new(|_| true)), ("label=cat".to_owned(), Box::new(is_cat))],
        vec![
            (String::new(), Box::new(|_| true)),
            ("model=default".to_owned(), Box::new(|_| true)),
            ("token=app".to_owned(), Box::new(|_| false)),
        ],
    ];
    let mut queries: Vec<(String, Vec<Holds<'_>>)> = vec![(String::new(), vec![])];
    for rule in &rules {
        queries = queries
            .iter()
            .flat_map(|(query, holds)| {
                rule.iter().map(move |(part, also)| {
                    let mut holds = holds.clone();
                    holds.push(&**also);
                    (format!("{query}&{part}"), holds)
                })
            })
            .collect();
    }
    for (query, holds) in queries {
        let expected: Vec<_> =
            all.iter().filter(|row| holds.iter().all(|holds| holds(row))).map(id).collect();
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/predictions?limit=5{query}{cursor}")).await.ok();
            found.extend(page["items"].as_array().unwrap().iter().map(id));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, expected, "{query}");
    }
    // Times.
    let time =
        |row: &Value| row["created_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let (from, to) = (time(&all[8]), time(&all[3]));
    let times: [(String, Holds<'_>); 4] = [
        (format!("from={from}"), &|row: &Value| time(row) >= from),
        (format!("to={to}"), &|row: &Value| time(row) < to),
        (format!("from={from}&to={to}"), &|row: &Value| time(row) >= from && time(row) < to),
        (format!("from={from}&label=cat"), &|row: &Value| time(row) >= from && is_cat(row)),
    ];
    for (query, holds) in times {
        let within: Vec<_> = listed(&server, &query).await.iter().map(id).collect();
        let expected: Vec<_> = all.iter().filter(|row| holds(row)).map(id).collect();
        assert_eq!(within, expected, "{query}");
    }

    for query in ["unsure=maybe", "from=yesterday", "limit=0", "cursor=x", "contradicted="] {
        server.get(&format!("/predictions?{query}")).await.problem(422, "invalid_value");
    }
    server.get("/predictions?model=nope").await.problem(404, "not_found");
}

#[tokio::test]
async fn the_callers_token_is_named() {
    let server = Server::with(|config| {
        config.prediction_log.prediction_log = true;
        config.api_token = vec!["operator".to_owned()];
    })
    .await;
    let new = json!({ "name": "app", "scopes": ["predict"] }).to_string();
    let created = ask(&server, "operator", "POST", "/tokens", new).await.json();
    let secret = created["secret"].as_str().unwrap();
    let mut ids = Vec::new();
    for token in [secret, "operator"] {
        let answer = ask(&server, token, "POST", "/predict", photo(1)).await.ok();
        ids.push(answer["predictions"][0]["id"].as_str().unwrap().to_owned());
    }
    let list = ask(&server, "operator", "GET", "/predictions", "").await.ok();
    assert_eq!(
        (&list["items"][1]["token"], &list["items"][0]["token"]),
        (&json!("app"), &json!(null))
    );
    // Whoever may predict may give feedback, and nothing else.
    let path = format!("/predictions/{}", ids[0]);
    let label = json!({ "label": "cat" }).to_string();
    let given = ask(&server, secret, "POST", &format!("{path}/feedback"), label).await.ok();
    assert_eq!(
        (&given["feedback"]["label"], &given["feedback"]["by"]),
        (&json!("cat"), &json!("app"))
    );
    ask(&server, secret, "DELETE", &format!("{path}/feedback"), "").await.ok();
    for (method, path) in [("GET", path.as_str()), ("DELETE", &path), ("GET", "/predictions")] {
        ask(&server, secret, method, path, "").await.problem(403, "forbidden");
    }
    let of_app = ask(&server, "operator", "GET", "/predictions?token=app", "").await.ok();
    assert_eq!(of_app["items"].as_array().unwrap().len(), 1);
}
