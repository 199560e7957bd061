//! The audit log.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    OPERATOR, ask,
    common::{Server, config, photo},
    create,
};

fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn who_changed_what_is_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let server = Server::with(|config| {
        config.api_token = vec![OPERATOR.to_owned()];
        config.audit_log = Some(log.clone());
    })
    .await;
    // The server makes the file at its start, so that a path that can't be used is found then.
    assert!(lines(&log).is_empty());
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let writer = create(&server, "importer", &["write"]).await;
    let body = json!({ "name": "pets" }).to_string();
    let created = ask(&server, Some(&writer), "POST", "/datasets", body.into()).await.ok();
    ask(&server, Some(&writer), "GET", "/datasets", Body::empty()).await.problem(403, "forbidden");
    let reader = create(&server, "reader", &["read"]).await;
    ask(&server, Some(&reader), "GET", "/datasets", Body::empty()).await.ok();
    let refused =
        ask(&server, Some(&reader), "DELETE", "/datasets/pets?force=1", Body::empty()).await;
    refused.problem(403, "forbidden");
    ask(&server, Some("wrong"), "DELETE", "/datasets/pets", Body::empty()).await;
    let lines = lines(&log);
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            json!([line["token"], line["operator"], line["method"], line["path"], line["status"]])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!([null, true, "POST", "/tokens", 201]),
            json!(["importer", false, "POST", "/datasets", 201]),
            json!([null, true, "POST", "/tokens", 201]),
            json!(["reader", false, "DELETE", "/datasets/pets", 403]),
        ]
    );
    assert_eq!(lines[1]["created"], format!("/datasets/{}", created["id"].as_str().unwrap()));
    assert_eq!(lines[3]["query"], "force=1");
    assert!(lines.iter().all(|line| line["time"].is_string() && line["request_id"].is_string()));
    assert!(!fs::read_to_string(&log).unwrap().contains(&writer));

    // Moved away, it is begun again.
    fs::rename(&log, folder.path().join("audit.1")).unwrap();
    ask(&server, Some(&writer), "DELETE", "/datasets/pets", Body::empty()).await;
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn feedback_is_in_the_audit_log_and_predictions_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let server = Server::with(|config| {
        config.api_token = vec![OPERATOR.to_owned()];
        config.audit_log = Some(log.clone());
        config.prediction_log.prediction_log = true;
    })
    .await;
    let phone = create(&server, "phone", &["predict"]).await;
    let reader = create(&server, "reader", &["read"]).await;
    let before = lines(&log).len();
    let image = json!({ "instances": [{ "b64": STANDARD.encode(photo(1)) }] }).to_string();
    let answer = ask(&server, Some(&phone), "POST", "/predict", image.into()).await.ok();
    let path =
        format!("/predictions/{}/feedback", answer["predictions"][0]["id"].as_str().unwrap());
    let label = json!({ "label": "cat" }).to_string();
    ask(&server, Some(&phone), "POST", &path, label.into()).await.ok();
    ask(&server, Some(&phone), "DELETE", &path, Body::empty()).await.ok();
    let refused = ask(&server, Some(&reader), "DELETE", &path, Body::empty()).await;
    refused.problem(403, "forbidden");
    let told: Vec<_> = lines(&log)[before..]
        .iter()
        .map(|line| json!([line["token"], line["method"], line["path"], line["status"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["phone", "POST", path, 200]),
            json!(["phone", "DELETE", path, 200]),
            json!(["reader", "DELETE", path, 403]),
        ]
    );
}

#[tokio::test]
async fn a_log_that_can_not_be_written_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.audit_log = Some(folder.path().join("none/audit.jsonl"));
    config.data_dir = folder.path().join("data");
    let error = pawprint::app::compose(config.clone()).await.unwrap_err();
    assert!(error.to_string().contains("can't write the audit log"), "{error}");
    // A named pipe that nobody reads would hold the server for ever.
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    config.audit_log = Some(pipe);
    let error = pawprint::app::compose(config).await.unwrap_err();
    assert!(error.to_string().contains("can't write the audit log"), "{error}");
}
