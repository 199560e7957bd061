//! What is older or more than the settings allow, and what somebody wants gone.

use std::{process::Command, time::Duration};

use serde_json::json;

use super::{
    common::{Server, data::execute, photo},
    keeping, listed, logging, predicted,
};

#[tokio::test]
async fn only_the_newest_are_kept() {
    let server = Server::with(|config| {
        config.prediction_log.prediction_log = true;
        config.prediction_log.prediction_log_max = 4;
    })
    .await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(predicted(&server, photo(number)).await);
        assert!(listed(&server, "").await.len() <= 4);
    }
    let left: Vec<_> = listed(&server, "")
        .await
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(left, ids.iter().rev().take(4).cloned().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_old_is_deleted_also_when_nothing_is_logged_any_more() {
    let server = keeping().await;
    for number in 0..5 {
        predicted(&server, photo(number)).await;
    }
    assert_eq!(listed(&server, "").await.len(), 5);
    let days = |days: u64| Duration::from_secs(days * 24 * 3600).as_millis();
    assert_eq!(days(31), 2_678_400_000);
    execute(
        server.folder.path(),
        "UPDATE predictions SET created_at = created_at - 2678400000 WHERE number <= 3",
    )
    .await;
    server.app.journal.retain().await.unwrap();
    assert_eq!(listed(&server, "").await.len(), 2);
    let kept =
        walkdir::WalkDir::new(server.folder.path().join("predictions")).into_iter().flatten();
    assert_eq!(kept.filter(|entry| entry.file_type().is_file()).count(), 2);
    // The same data directory without a log.
    execute(server.folder.path(), "UPDATE predictions SET created_at = 0").await;
    let folder = super::common::data::close(server).await;
    let app = super::common::app(super::common::config(), folder.path()).await;
    assert!(!app.journal.is_on());
    app.journal.retain().await.unwrap();
    let server = Server { router: pawprint::http::router::router(app.clone()), app, folder };
    assert_eq!(listed(&server, "").await.len(), 0);
    assert_eq!(server.get("/predictions/summary").await.ok()["models"], json!([]));
}

#[tokio::test]
async fn nothing_is_written_where_there_is_nothing_to_delete() {
    let server = keeping().await;
    predicted(&server, photo(0)).await;
    assert_eq!(listed(&server, "").await.len(), 1);
    // No write succeeds, as on a read-only disk.
    let held = server.app.storage.write().await.unwrap();
    server.app.journal.retain().await.unwrap();
    drop(held);
}

#[tokio::test]
async fn a_clock_that_goes_back_deletes_nothing_new() {
    let server = Server::with(|config| {
        config.prediction_log.prediction_log = true;
        config.prediction_log.prediction_log_max = 3;
    })
    .await;
    predicted(&server, photo(0)).await;
    assert_eq!(listed(&server, "").await.len(), 1);
    // The first ones came when the clock was a year ahead.
    execute(server.folder.path(), "UPDATE predictions SET created_at = created_at + 31536000000")
        .await;
    let mut ids = Vec::new();
    for number in 1..4 {
        ids.insert(0, predicted(&server, photo(number)).await);
    }
    server.app.journal.retain().await.unwrap();
    let left = listed(&server, "").await;
    assert_eq!(left.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn everything_before_a_time_is_deleted_on_request() {
    let server = logging().await;
    for number in 0..4 {
        predicted(&server, photo(number)).await;
    }
    assert_eq!(listed(&server, "").await.len(), 4);
    execute(server.folder.path(), "UPDATE predictions SET created_at = number * 1000").await;
    for query in ["", "?before=", "?before=now", "?after=1970-01-01T00:00:00Z"] {
        server.delete(&format!("/predictions{query}")).await.problem(422, "invalid_value");
    }
    let deleted = server.delete("/predictions?before=1970-01-01T00:00:03Z").await.ok();
    assert_eq!(deleted, json!({ "deleted": 2 }));
    assert_eq!(listed(&server, "").await.len(), 2);
}

#[tokio::test]
async fn the_predictions_of_a_deleted_model_stay() {
    let server = logging().await;
    let id = predicted(&server, photo(1)).await;
    assert_eq!(listed(&server, "").await.len(), 1);
    execute(server.folder.path(), "DELETE FROM models").await;
    let path = format!("/predictions/{id}/feedback");
    server.json("POST", &path, json!({ "label": "bird" })).await.problem(422, "unknown_label");
    server.json("POST", &path, json!({ "label": "dog" })).await.ok();
    assert_eq!(listed(&server, "model=default").await.len(), 1);
    let summary = server.get("/predictions/summary").await.ok();
    assert_eq!(summary["models"][0]["feedback"]["count"], 1);
    assert_eq!(server.get("/predictions/drift?model=default").await.ok()["predictions"], 1);
}

#[test]
fn impossible_limits_are_refused_at_the_start() {
    let serve = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "/nonexistent/x"])
            .args(flags);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for flags in [
        ["--prediction-log-max", "0"],
        ["--prediction-log-max", "x"],
        ["--prediction-log-days", "0"],
        ["--prediction-log-days", "40000"],
        ["--prediction-log-photo-bytes", "0"],
    ] {
        assert!(serve(&flags).contains(flags[0]), "{flags:?}");
    }
    assert!(serve(&["--prediction-log-photos"]).contains("needs --prediction-log"));
}
