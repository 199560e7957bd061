//! Servers that are killed while they log.

use std::{path::Path, process::Command, time::Duration};

use pawprint::storage::upkeep;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::common::{photo, process::Process};

fn start(folder: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.env("PAWPRINT_PREDICTION_LOG", "true").env("PAWPRINT_PREDICTION_LOG_PHOTOS", "true");
    Process::spawn(&mut command, folder)
}

async fn predict(server: &Process, number: u32) -> Option<String> {
    let request = server.request(Method::POST, "/predict").body(photo(number));
    let body: Value = request.send().await.ok()?.json().await.ok()?;
    body["predictions"][0]["id"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_outlives_a_kill_and_rows_that_were_written_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let server = start(folder.path());
        // Load that is cut off by the kill.
        let load = async {
            for number in 0.. {
                if predict(&server, number % 50).await.is_none() {
                    break;
                }
            }
        };
        let told = async {
            let mut told = Vec::new();
            for number in 0..5 {
                let id = predict(&server, number).await.unwrap();
                let path = format!("/predictions/{id}/feedback");
                let (status, _) = server.post(&path, json!({ "label": "dog" })).await;
                assert_eq!(status, 200);
                told.push(id);
            }
            tokio::time::sleep(Duration::from_millis(100 * round)).await;
            server.signal(Signal::KILL);
            told
        };
        let ((), told) = tokio::join!(load, told);
        acknowledged.extend(told);
    }
    let server = start(folder.path());
    for id in &acknowledged {
        let row = server.get(&format!("/predictions/{id}")).await;
        assert_eq!(row["feedback"]["label"], "dog");
    }
    drop(server);
    let mut database = upkeep::open(&folder.path().join("pawprint.sqlite")).await.unwrap();
    assert_eq!(upkeep::integrity(&mut database).await.unwrap(), Vec::<String>::new());
    assert!(upkeep::orphans(&mut database).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_is_written_when_the_server_stops() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path());
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(predict(&server, number).await.unwrap());
    }
    assert!(server.end(Signal::TERM));
    drop(server);
    let server = start(folder.path());
    let page = server.get("/predictions?limit=100").await;
    let mut found: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    found.reverse();
    assert_eq!(found, ids);
}
