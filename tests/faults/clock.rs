//! A clock that jumps by seconds to years, forwards and backwards, while a server works.
//!
//! Only the wall clock jumps; the monotonic clock does not. This requires libfaketime (Debian, Ubuntu:
//! `apt-get install libfaketime`).

use std::{fs, path::PathBuf, time::Duration};

use rand::{RngExt as _, seq::IndexedRandom as _};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use super::{
    common::{photo, tar},
    kills::audit,
    sandbox::{Client, Sandbox},
    scale::{Trial, rounds},
};

/// The library: `PAWPRINT_FAKETIME`, or the system's.
fn library() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PAWPRINT_FAKETIME") {
        return Some(path.into());
    }
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let nested = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let nested: Vec<_> = nested.flatten().map(|entry| entry.path()).collect();
    folders
        .into_iter()
        .chain(nested)
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
}

/// Offsets of the clock, in seconds.
const JUMPS: [i64; 9] =
    [0, -5, 90, -3_700, 7_300, -86_400, 90_000, -10 * 365 * 86_400, 10 * 365 * 86_400];

#[tokio::test]
async fn a_clock_that_jumps_stops_nothing_and_loses_nothing() {
    let trial = Trial::new("jumps of the clock");
    let Some(library) = library() else {
        return trial
            .skip("libfaketime is not installed (Debian, Ubuntu: apt-get install libfaketime)");
    };
    let sandbox = Sandbox::new();
    let offset = sandbox.path().join("offset");
    let set = |seconds: i64| {
        let next = sandbox.path().join("next");
        fs::write(&next, format!("{seconds:+}\n")).unwrap();
        fs::rename(next, &offset).unwrap();
    };
    set(0);
    let start = || {
        let mut program = sandbox.program();
        program.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &offset);
        let other = [("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
        sandbox.spawn(program.envs(other))
    };
    let mut server = start();
    server.pets(4).await;
    server.post("/datasets", json!({ "name": "timeless", "classes": ["cat", "dog"] })).await;
    let (rounds, mut jobs) = (rounds(6, 60), Vec::new());
    for round in 0..rounds {
        let mut draws = trial.draws(round);
        let client = Client::of(&server);
        let id = server.job(json!({ "epochs": 2, "batch_size": 8 })).await;
        for _ in 0..3 {
            set(*JUMPS.choose(&mut draws).unwrap());
            tokio::time::sleep(Duration::from_millis(draws.random_range(0..300))).await;
            assert_eq!(client.predict("", photo(1)).await.unwrap().0, 200);
        }
        let files = [("train/cat/x.jpg", photo(1_000 + round))];
        let (status, body) = client.post("/datasets/timeless/archive", tar(&files)).await.unwrap();
        assert_eq!((status, &body["added"]), (200, &json!(1)), "{body}");
        let job = server.ended(&id).await;
        assert_eq!((&job["status"], &job["attempts"]), (&json!("succeeded"), &json!(1)), "{job}");
        jobs.push(id.clone());
        for path in ["/metrics", "/evaluation", "/log", "/charts/loss.svg"] {
            client.bytes(&format!("/jobs/{id}{path}")).await;
        }
        // Each job and each image is on exactly one page.
        for (path, count) in
            [("/jobs", jobs.len()), ("/datasets/timeless/images", round as usize + 1)]
        {
            let mut ids: Vec<_> = pages(&client, path).await;
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), count, "{path}");
        }
        assert_eq!(client.ask(Method::GET, "/readyz", None).await.unwrap().0, 200);
        if round % 3 == 2 {
            // The clock is off at startup too.
            server.end(if draws.random() { Signal::KILL } else { Signal::TERM });
            server = start();
        }
    }
    audit::files(&sandbox.data());
    audit::database(&sandbox.data()).await;
    sandbox.assert_no_panic();
    trial.ends(format_args!("{} jumps, {rounds} jobs", rounds * 3));
}

/// The ids of a list, with two items per page.
async fn pages(client: &Client, path: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}?limit=2{cursor}")).await;
        let items = page["items"].as_array().unwrap();
        ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}
