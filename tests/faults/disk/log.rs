//! A full disk under the log of predictions.

use std::{collections::BTreeSet, fs, time::Instant};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::full::{SIZE, fill, large_photo};
use crate::{
    common::{
        disk::Disk,
        process::{PATIENCE, Process},
    },
    kills::audit,
    sandbox::{Client, Sandbox},
    scale::{Trial, rounds},
};

/// Predicts images that were not predicted before; gives the ids that the log has for them.
async fn predict(client: &Client, next: &mut u32, count: u32) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let (status, body) = client.predict("", large_photo(*next)).await.unwrap();
        assert_eq!(status, 200, "{body}");
        ids.insert(body["predictions"][0]["id"].as_str().unwrap().to_owned());
        *next += 1;
    }
    ids
}

async fn logged(client: &Client) -> BTreeSet<String> {
    let rows = client.all("/predictions").await;
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

async fn start(sandbox: &Sandbox) -> (Process, Client) {
    let mut program = sandbox.program();
    program.env("PAWPRINT_PREDICTION_LOG", "true").env("PAWPRINT_PREDICTION_LOG_PHOTOS", "true");
    let server = sandbox.spawn(&mut program);
    let client = Client::of(&server);
    (server, client)
}

#[tokio::test]
async fn predictions_are_answered_on_a_full_disk_and_logged_when_there_is_room() {
    let trial = Trial::new("full disk under the log of predictions");
    let sandbox = Sandbox::new();
    let _disk = match Disk::mount(&sandbox.data(), SIZE) {
        Ok(disk) => disk,
        Err(why) => return trial.skip(why),
    };
    let (mut server, mut client) = start(&sandbox).await;
    let (mut next, mut wanted, mut told, mut refused) = (0, BTreeSet::new(), Vec::new(), 0);
    let rounds = rounds(2, 20);
    for round in 0..rounds {
        wanted.extend(predict(&client, &mut next, 3).await);
        assert_eq!(logged(&client).await, wanted);
        let filler = fill(&sandbox.data(), "filler", 0);
        let id = wanted.iter().next_back().unwrap().clone();
        wanted.extend(predict(&client, &mut next, 20).await);
        // What is in the log can be read, and feedback is kept or refused.
        assert!(logged(&client).await.contains(&id));
        let body = json!({ "label": "dog" });
        let path = format!("/predictions/{id}/feedback");
        match client.ask(Method::POST, &path, Some(body)).await.unwrap() {
            (200, _) => told.push(id),
            (507, problem) => {
                assert_eq!(problem["code"], "disk_full");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
        fs::remove_file(filler).unwrap();
        let begun = Instant::now();
        while logged(&client).await != wanted {
            assert!(begun.elapsed() < PATIENCE, "the log lacks predictions");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        for id in &told {
            let row: Value = client.get(&format!("/predictions/{id}")).await;
            assert_eq!(row["feedback"]["label"], "dog", "{row}");
        }
        if round % 2 == 1 {
            server.end(Signal::TERM);
            audit::database(&sandbox.data()).await;
            (server, client) = start(&sandbox).await;
        }
    }
    // Each image that is said to be kept is there.
    let mut kept = 0;
    for row in client.all("/predictions").await {
        if row["photo"] == true {
            let id = row["id"].as_str().unwrap();
            assert!(!client.bytes(&format!("/predictions/{id}/photo")).await.is_empty());
            kept += 1;
        }
    }
    sandbox.assert_no_panic();
    trial.ends(format_args!(
        "disk filled {rounds} times, {} predictions answered and logged, {kept} of their images kept; feedback {} times kept and {refused} times refused",
        wanted.len(),
        told.len()
    ));
}
