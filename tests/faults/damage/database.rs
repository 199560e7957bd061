//! A database with a corrupted page.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use rand::{Rng, RngExt as _};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    common::{photo, process::Process, tar},
    kills::audit,
    sandbox::{Answer, Client, Sandbox},
    scale::{Trial, rounds},
};

const PAGE: usize = 4096;
/// Images of the dataset: their rows fill many pages.
const PHOTOS: u32 = 300;

fn photos() -> Vec<u8> {
    let names: Vec<_> = (0..PHOTOS)
        .map(|number| format!("train/{}/{number}.jpg", ["cat", "dog"][number as usize % 2]))
        .collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip((0..).map(photo)).collect();
    tar(&files)
}

/// Corrupts a page other than the first; returns a description.
fn damage(database: &mut [u8], draws: &mut impl Rng) -> String {
    let pages = database.len() / PAGE;
    // A leaf keeps one entry; the others are lost without a trace.
    if draws.random() {
        let is_leaf = |page: &usize| {
            let page = &database[page * PAGE..];
            matches!(page[0], 10 | 13) && u16::from_be_bytes([page[3], page[4]]) > 3
        };
        let leaves: Vec<_> = (1..pages).filter(is_leaf).collect();
        let page = leaves[draws.random_range(0..leaves.len())];
        database[page * PAGE + 3..page * PAGE + 5].copy_from_slice(&[0, 1]);
        return format!("page {page} has lost its entries");
    }
    let page = draws.random_range(1..pages);
    let begin = draws.random_range(0..PAGE - 1);
    let end = draws.random_range(begin + 1..=PAGE);
    let damaged = &mut database[page * PAGE + begin..page * PAGE + end];
    draws.fill(damaged);
    format!("noise on page {page}, bytes {begin} to {end}")
}

/// Files that must not be removed.
fn treasures(data: &Path) -> BTreeSet<std::path::PathBuf> {
    ["blobs", "models", "jobs"]
        .iter()
        .flat_map(|folder| walkdir::WalkDir::new(data.join(folder)))
        .map(|entry| entry.unwrap().into_path())
        .collect()
}

#[track_caller]
fn assert_clear(what: &str, (status, body): &Answer) {
    let code = body["code"].as_str().unwrap_or_default();
    let is_clear = *status < 500 || ["database_damaged", "no_model"].contains(&code);
    // A constraint that fails for want of a lost row looks like a fault of the program.
    let is_constraint = what.contains("DELETE") && code == "internal";
    assert!(is_clear || is_constraint, "{what}: {status} {body}");
}

#[tokio::test]
async fn a_damaged_page_is_told_of_and_nothing_is_removed_because_of_it() {
    let trial = Trial::new("damaged database");
    let sandbox = Sandbox::new();
    let data = sandbox.data();
    {
        let mut server = sandbox.start();
        let client = Client::of(&server);
        server.pets(4).await;
        server.post("/datasets", json!({ "name": "many" })).await;
        let (status, body) = client.post("/datasets/many/archive", photos()).await.unwrap();
        assert_eq!((status, &body["added"]), (200, &json!(PHOTOS)), "{body}");
        let job = server.job(json!({ "epochs": 2, "batch_size": 8 })).await;
        assert_eq!(server.ended(&job).await["status"], "succeeded");
        assert!(server.end(Signal::TERM));
    }
    let path = data.join("pawprint.sqlite");
    let whole = fs::read(&path).unwrap();
    let before = treasures(&data);
    let rounds = rounds(4, 60);
    let (mut refused, mut told) = (0, 0);
    for round in 0..rounds {
        let mut draws = trial.draws(round);
        let mut database = whole.clone();
        let how = damage(&mut database, &mut draws);
        fs::write(&path, database).unwrap();
        let logged = sandbox.log().len();
        match Process::try_spawn(&mut sandbox.program(), &data) {
            Err(ended) => {
                refused += 1;
                let said = sandbox.tail();
                let last = said.lines().last().unwrap();
                assert!(ended.code() == Some(1), "{how}: {ended}");
                assert!(last.contains("damaged") || last.contains("malformed"), "{how}: {said}");
            }
            Ok(mut server) => {
                ask_everything(&Client::of(&server), &how).await;
                // The first cleanup begins at startup.
                tokio::time::sleep(Duration::from_millis(700)).await;
                server.end(Signal::KILL);
                let log = &sandbox.log()[logged..];
                told += u32::from(log.contains("the database is damaged"));
            }
        }
        let left = treasures(&data);
        let gone: Vec<_> = before.difference(&left).collect();
        assert!(gone.is_empty(), "{how}: removed {gone:?}");
        for file in ["pawprint.sqlite-wal", "pawprint.sqlite-shm"] {
            let _ = fs::remove_file(data.join(file));
        }
    }
    fs::write(&path, whole).unwrap();
    let server = sandbox.start();
    audit::database(&data).await;
    audit::files(&data);
    assert_eq!(Client::of(&server).all("/datasets/many/images").await.len(), PHOTOS as usize);
    sandbox.assert_no_panic();
    trial.ends(format_args!(
        "{rounds} pages; {refused} servers did not start, {told} of the others detected the damage at startup"
    ));
}

/// Asserts that each request succeeds or fails with the reason.
async fn ask_everything(client: &Client, how: &str) {
    let (status, body) = client.predict("", photo(1)).await.unwrap();
    // Where the table of models is lost, there is none.
    assert!(status == 200 || body["code"] == "no_model", "{how}: {status} {body}");
    let mut paths: Vec<String> = [
        "/datasets",
        "/datasets/many",
        "/datasets/many/statistics",
        "/jobs",
        "/models",
        "/readyz",
        "/models/current",
        "/metrics",
        "/system",
    ]
    .map(str::to_owned)
    .to_vec();
    let (_, images) = client.ask(Method::GET, "/datasets/many/images", None).await.unwrap();
    if let Some(image) = images["items"].as_array().and_then(|items| items.first()) {
        paths.push(format!("/images/{}", image["id"].as_str().unwrap()));
    }
    let (_, jobs) = client.ask(Method::GET, "/jobs", None).await.unwrap();
    if let Some(job) = jobs["items"].as_array().and_then(|items| items.first()) {
        let id = job["id"].as_str().unwrap();
        paths
            .extend(["", "/metrics", "/evaluation", "/events"].map(|it| format!("/jobs/{id}{it}")));
    }
    for path in paths {
        let answer = client.ask(Method::GET, &path, None).await.unwrap();
        if path != "/readyz" {
            assert_clear(&format!("{how}: {path}"), &answer);
        }
    }
    let archive = tar(&[("train/cat/new.jpg", photo(PHOTOS + 1))]);
    let uploaded = client.post("/datasets/many/archive", archive).await.unwrap();
    assert_clear(&format!("{how}: upload"), &uploaded);
    let job: Value = json!({ "recipe": "scratch_cnn", "dataset": "pets" });
    for (method, path, body) in [
        (Method::POST, "/datasets", Some(json!({ "name": "new" }))),
        (Method::PUT, "/models/current", Some(json!({ "model": "default" }))),
        (Method::POST, "/jobs", Some(job)),
        (Method::DELETE, "/datasets/many", None),
    ] {
        let answer = client.ask(method.clone(), path, body).await.unwrap();
        assert_clear(&format!("{how}: {method} {path}"), &answer);
    }
}
