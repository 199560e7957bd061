//! The log of predictions on its page: by keyboard, with and without photos, and where there is none.

use std::{path::Path, process::Command, time::Instant};

use fantoccini::key::Key;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    common::{
        photo,
        process::{PATIENCE, Process},
    },
};

fn start(data: &Path, photos: bool) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.env("PAWPRINT_PREDICTION_LOG", "true");
    command.env("PAWPRINT_PREDICTION_LOG_PHOTOS", photos.to_string());
    Process::spawn(&mut command, data)
}

async fn predict(server: &Process, number: u32) {
    let request = server.request(Method::POST, "/predict").body(photo(number));
    assert_eq!(request.send().await.unwrap().status(), 200);
}

async fn press(browser: &Browser, keys: &str) {
    browser.see(".stage").await.send_keys(keys).await.unwrap();
}

/// Waits until the query finds that many predictions.
async fn found(server: &Process, query: &str, number: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let page = server.get(&format!("/predictions?{query}")).await;
        let items = page["items"].as_array().unwrap();
        if items.len() == number {
            return items.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{query}: {page}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Nothing is wider than the page, at the width of a phone.
async fn fits(browser: &Browser) {
    browser.width(390).await;
    let script = "return document.documentElement.scrollWidth";
    let width = browser.client.execute(script, vec![]).await.unwrap();
    assert!(width.as_u64().unwrap() <= 390, "{width}");
    browser.width(1280).await;
}

#[tokio::test]
async fn predictions_are_confirmed_corrected_and_added_to_a_dataset_by_keyboard() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path(), true);
    let pets = json!({ "name": "pets", "classes": ["cat", "dog"] });
    assert_eq!(server.post("/datasets", pets).await.0, 201);
    for number in 0..6 {
        predict(&server, number).await;
    }
    let Some(browser) = Browser::open(&server).await else { return };
    browser.page("#/predictions?list=all").await;
    browser.see(".stage-view img").await;
    browser.read("Too few predictions").await;
    fits(&browser).await;
    let all = found(&server, "", 6).await;

    // Confirmed, and on to the next, which is corrected.
    press(&browser, &char::from(Key::Enter).to_string()).await;
    let confirmed = found(&server, "with_feedback=true", 1).await;
    assert_eq!(
        (&confirmed[0]["id"], &confirmed[0]["feedback"]["label"]),
        (&all[0]["id"], &all[0]["label"])
    );
    let (key, other) = if all[1]["label"] == "cat" { ("2", "dog") } else { ("1", "cat") };
    press(&browser, key).await;
    let contradicted = found(&server, "contradicted=true", 1).await;
    assert_eq!(
        (&contradicted[0]["id"], &contradicted[0]["feedback"]["label"]),
        (&all[1]["id"], &json!(other))
    );
    // The next one is shown, but the image with the last feedback goes into the dataset, under its class.
    press(&browser, "a").await;
    browser.read(&format!("Added to pets as {other}.")).await;
    let begun = Instant::now();
    loop {
        let images = server.get("/datasets/pets/images").await;
        if let [image] = images["items"].as_array().unwrap().as_slice() {
            assert_eq!((&image["label"], &image["sha256"]), (&json!(other), &all[1]["sha256"]));
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{images}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    browser.page("#/predictions?list=contradicted").await;
    browser.read("1 of 1").await;
    press(&browser, "u").await;
    found(&server, "contradicted=true", 0).await;
    browser.assert_clean(&server).await;
    browser.close().await;
}

#[tokio::test]
async fn without_photos_or_a_log_the_page_says_how_to_have_them() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    browser.page("#/predictions").await;
    browser.read("This server does not log predictions.").await;
    fits(&browser).await;
    browser.close().await;
    drop(server);

    let server = start(data.path(), false);
    let Some(browser) = Browser::open(&server).await else { return };
    browser.page("#/predictions").await;
    browser.read("No predictions yet.").await;
    predict(&server, 1).await;
    found(&server, "", 1).await;
    browser.page("#/predict").await;
    browser.page("#/predictions?list=all").await;
    browser.read("The image is not kept.").await;
    browser.read("--prediction-log-photos").await;
    press(&browser, &char::from(Key::Enter).to_string()).await;
    found(&server, "with_feedback=true", 1).await;
    fits(&browser).await;
    browser.assert_clean(&server).await;
    browser.close().await;
}
