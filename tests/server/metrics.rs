//! `GET /metrics`, and the header that says where the time of a prediction went.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroUsize,
    path::Path,
};

use crate::common::{Server, photo, process::Process};
use axum::{body::Body, http::Request};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::Method;
use serde_json::{Value, json};

/// Series and their values, after making sure that every line is one that Prometheus reads.
#[track_caller]
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut described = BTreeMap::new();
    let mut series = BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<_> = comment.splitn(3, ' ').collect();
            match words[..] {
                ["HELP", _, help] => assert!(!help.is_empty(), "{line}"),
                ["TYPE", name, kind @ ("counter" | "gauge" | "histogram")] => {
                    assert!(described.insert(name, kind).is_none(), "described twice: {line}");
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (labelled, value) = line.rsplit_once(' ').unwrap();
        let name = labelled.split('{').next().unwrap();
        assert!(labelled == name || labelled.ends_with("\"}"), "{line}");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            name.strip_suffix(suffix).filter(|name| described.get(name) == Some(&"histogram"))
        });
        let kind = described.get(family.unwrap_or(name)).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{line}");
        assert!(series.insert(labelled.to_owned(), value.parse().unwrap()).is_none(), "{line}");
    }
    series
}

async fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    parse(std::str::from_utf8(&answer.body).unwrap())
}

fn requests(method: &str, route: &str, status: u16) -> String {
    format!(
        "pawprint_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
    )
}

#[tokio::test]
async fn requests_are_counted_by_the_route_and_never_by_the_path() {
    let server = Server::start().await;
    server.pets().await;
    for path in ["/datasets/pets", "/datasets/cats", "/datasets/dogs", "/one", "/two/three"] {
        server.get(path).await;
    }
    server.delete("/recipes").await;
    let made_up = Request::builder().method("PURR").uri("/recipes").body(Body::empty()).unwrap();
    server.send(made_up).await;

    let series = scrape(&server).await;
    for (method, route, status, count) in [
        ("GET", "/datasets/{dataset}", 200, 1.0),
        ("GET", "/datasets/{dataset}", 404, 2.0),
        ("POST", "/datasets", 201, 1.0),
        ("GET", "unmatched", 404, 2.0),
        ("DELETE", "/recipes", 405, 1.0),
        ("other", "/recipes", 405, 1.0),
    ] {
        let name = requests(method, route, status);
        assert_eq!(series.get(&name), Some(&count), "{name} in {series:#?}");
        let labels = name.split_once('{').unwrap().1.trim_end_matches('}');
        let duration = format!("pawprint_http_request_duration_seconds_count{{{labels}}}");
        assert_eq!(series.get(&duration), Some(&count), "{duration}");
        let bucket = |bound| {
            let bucket = "pawprint_http_request_duration_seconds_bucket";
            series[&format!("{bucket}{{le=\"{bound}\",{labels}}}")]
        };
        assert!(bucket("0.001") <= bucket("10.0") && bucket("10.0") <= bucket("+Inf"));
        assert_eq!(bucket("+Inf"), count);
    }
    let routes = series.keys().filter(|name| name.starts_with("pawprint_http_requests_total"));
    assert_eq!(routes.count(), 6, "{series:#?}");
    let again = scrape(&server).await;
    assert_eq!(again[&requests("GET", "/metrics", 200)], 1.0);
}

#[tokio::test]
async fn how_things_stand_is_shown_before_anything_has_happened() {
    let server = Server::start().await;
    let series = scrape(&server).await;
    for status in ["queued", "running", "succeeded", "failed", "cancelled", "interrupted"] {
        assert_eq!(series[&format!("pawprint_jobs{{status=\"{status}\"}}")], 0.0);
    }
    for name in [
        "pawprint_prediction_queue_depth",
        "pawprint_predictions_rejected_total",
        "pawprint_prediction_decode_seconds_count",
        "pawprint_prediction_queue_seconds_count",
        "pawprint_prediction_inference_seconds_count",
        "pawprint_prediction_batch_size_count",
    ] {
        assert_eq!(series[name], 0.0, "{name}");
    }
    let models: Vec<_> =
        series.keys().filter(|name| name.starts_with("pawprint_model_info")).collect();
    assert!(matches!(models[..], [name] if name.contains("default")), "{models:?}");
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("pawprint_build_info{{version=\"{version}\",libtorch=\"");
    assert!(series.iter().any(|(name, value)| name.starts_with(&build) && *value == 1.0));
    assert!(series["process_resident_memory_bytes"] > 1e6);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 600.0..=now).contains(&series["process_start_time_seconds"]));
}

#[tokio::test]
async fn a_refused_prediction_is_counted_and_one_under_way_is_in_the_queue() {
    let server = Server::with(|config| config.queue_capacity = NonZeroUsize::new(2).unwrap()).await;
    let places = server.app.admitted.try_acquire_many(2).unwrap();
    server.post("/predict", photo(1)).await.problem(429, "queue_full");
    let tensor = server.json("POST", "/v2/models/current/infer", json!({})).await;
    tensor.problem(429, "queue_full");
    let series = scrape(&server).await;
    assert_eq!(series["pawprint_prediction_queue_depth"], 2.0);
    assert_eq!(series["pawprint_predictions_rejected_total"], 2.0);
    assert_eq!(series[&requests("POST", "/predict", 429)], 1.0);
    drop(places);
    server.post("/predict", photo(1)).await.ok();
    let series = scrape(&server).await;
    assert_eq!(series["pawprint_prediction_queue_depth"], 0.0);
    assert_eq!(series["pawprint_predictions_rejected_total"], 2.0);
}

#[tokio::test]
async fn predictions_of_the_open_inference_protocol_count_like_others() {
    let server = Server::start().await;
    // Unsure of everything.
    let unsure = json!({ "answer_above": 1.0, "unlike_above": null });
    server.json("PATCH", "/models/default", unsure).await.ok();
    let data = [1, 2].map(|number| BASE64.encode(photo(number)));
    let tensor = json!({ "name": "image", "datatype": "BYTES", "shape": [2], "data": data });
    let path = "/v2/models/default/infer";
    server.json("POST", path, json!({ "inputs": [tensor] })).await.ok();
    let series = scrape(&server).await;
    for name in ["decode_seconds", "queue_seconds", "inference_seconds", "batch_size"] {
        assert_eq!(series[&format!("pawprint_prediction_{name}_count")], 1.0, "{name}");
    }
    assert_eq!(series["pawprint_prediction_batch_size_sum"], 2.0);
    assert_eq!(series["pawprint_predictions_unsure_total{reason=\"low_confidence\"}"], 2.0);
    server.post("/predict", photo(1)).await.ok();
    let series = scrape(&server).await;
    assert_eq!(series["pawprint_prediction_batch_size_sum"], 3.0);
    assert_eq!(series["pawprint_predictions_unsure_total{reason=\"low_confidence\"}"], 3.0);
}

#[tokio::test]
async fn the_token_guards_them() {
    let server = Server::with(|config| config.api_token = vec!["s3cret".to_owned()]).await;
    server.get("/metrics").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_prediction_says_where_its_time_went_and_the_metrics_say_so_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    let job = server.job(json!({ "epochs": 1, "batch_size": 8 })).await;
    let job = server.ended(&job).await;
    assert_eq!(job["status"], "succeeded", "{job}");

    let request = server.request(Method::POST, "/predict").header("content-type", "image/jpeg");
    let answer = request.body(photo(1)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let header = answer.headers()["server-timing"].to_str().unwrap().to_owned();
    let body: Value = answer.json().await.unwrap();
    let stages = header.split(", ").map(|stage| {
        let (name, milliseconds) = stage.split_once(";dur=").unwrap();
        let said = body["timing_ms"][name].as_f64().unwrap();
        assert!((milliseconds.parse::<f64>().unwrap() - said).abs() <= 0.051, "{header} {body}");
        name
    });
    assert_eq!(stages.collect::<Vec<_>>(), ["decode", "queue", "inference", "total"]);

    let text = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let series = parse(&text);
    for name in ["decode_seconds", "queue_seconds", "inference_seconds", "batch_size"] {
        assert_eq!(series[&format!("pawprint_prediction_{name}_count")], 1.0);
    }
    assert_eq!(series["pawprint_prediction_batch_size_sum"], 1.0);
    let inference = body["timing_ms"]["inference"].as_f64().unwrap() / 1e3;
    assert!((series["pawprint_prediction_inference_seconds_sum"] - inference).abs() < 1e-9);
    assert_eq!(series["pawprint_jobs{status=\"succeeded\"}"], 1.0);
    let [id, name, recipe] =
        ["id", "name", "recipe"].map(|field| body["model"][field].as_str().unwrap());
    let info = format!("pawprint_model_info{{id=\"{id}\",name=\"{name}\",recipe=\"{recipe}\"}}");
    assert_eq!(series.get(&info), Some(&1.0), "{text}");
}

#[tokio::test]
async fn the_dashboard_asks_only_for_series_that_there_are() {
    let server = Server::start().await;
    server.post("/predict", photo(1)).await.ok();
    let series = scrape(&server).await;
    let names: BTreeSet<_> = series.keys().map(|key| key.split('{').next().unwrap()).collect();

    let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_slice(&fs::read(dashboard).unwrap()).unwrap();
    let targets = |panel: &Value| panel["targets"].as_array().unwrap().clone();
    let targets: Vec<_> =
        dashboard["panels"].as_array().unwrap().iter().flat_map(targets).collect();
    let mut asked = BTreeSet::new();
    for target in &targets {
        let words =
            target["expr"].as_str().unwrap().split(|c: char| !c.is_alphanumeric() && c != '_');
        asked.extend(
            words.filter(|word| word.starts_with("pawprint_") || word.starts_with("process_")),
        );
    }
    assert!(asked.len() > 10, "{asked:?}");
    let missing: Vec<_> = asked.difference(&names).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
