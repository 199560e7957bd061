//! Datasets and models of many classes.

use std::fs;

use fantoccini::key::Key;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    common::{encode, process::Process, tar},
};

/// Classes that can be told apart by their colour, and with `images` tell which image it is.
fn image(class: usize, classes: usize, number: usize) -> Vec<u8> {
    let image = image::RgbImage::from_fn(24, 24, |x, y| {
        let tone = |shift: usize| ((class * (17 + shift * 40) * 256 / classes) % 200) as u8;
        let noise = ((x * 7 + y * 13) as usize * (number + 1) % 40) as u8;
        image::Rgb([tone(0) + noise, tone(1) + noise, tone(2) + (number % 40) as u8])
    });
    encode(image, image::ImageFormat::Png)
}

fn name(class: usize) -> String {
    format!("kind {class:03}")
}

/// So many images of each class: half of them to train, a quarter each to validate and to test.
fn files(classes: usize, each: usize) -> Vec<(&'static str, Vec<u8>)> {
    let splits = |number| match number * 4 / each {
        0 | 1 => "train",
        2 => "validation",
        _ => "test",
    };
    let numbers = (0..classes).flat_map(|class| (0..each).map(move |number| (class, number)));
    let file = |(class, number)| {
        let path = format!("{}/{}/{number}.png", splits(number), name(class));
        (&*path.leak(), image(class, classes, number))
    };
    numbers.map(file).collect()
}

/// Makes the dataset `kinds` of so many classes, and the model `first` of it.
async fn train(server: &Process, classes: usize, each: usize) {
    assert_eq!(server.post("/datasets", json!({ "name": "kinds" })).await.0, 201);
    let archive = tar(&files(classes, each));
    let request = server.request(Method::POST, "/datasets/kinds/archive").body(archive);
    assert!(request.send().await.unwrap().status().is_success());
    let body = json!({ "recipe": "efficientnet_lite0_features", "dataset": "kinds", "name": "first", "params": { "epochs": 3 } });
    let (status, job) = server.post("/jobs", body).await;
    assert_eq!(status, 202, "{job}");
    let job = server.ended(job["id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job}");
}

/// Opens each page in a window as wide as a phone, and waits for something on it.
async fn fits_a_phone(browser: &Browser) {
    browser.width(390).await;
    for (address, what) in [
        ("#/jobs/first", "//h2[contains(., 'misclassified image')]"),
        ("#/datasets/kinds", "//figcaption[contains(., 'Images by')]"),
        ("#/datasets", "//td[contains(., 'kind 000')]"),
        ("#/train?dataset=kinds", "//p[contains(., 'classes: kind 000')]"),
        ("#/models", "//th[contains(., 'first')]"),
        ("#/models/first", "//h2[.='When is first unsure?']"),
        ("#/predict", ".verdict"),
    ] {
        browser.page(address).await;
        browser.see(what).await;
        let script = "return [document.documentElement.scrollWidth, innerWidth]";
        let widths: Vec<u64> =
            serde_json::from_value(browser.client.execute(script, vec![]).await.unwrap()).unwrap();
        assert!(widths[0] <= widths[1], "{address}: {widths:?}");
    }
    browser.width(1280).await;
}

async fn pick(browser: &Browser, folder: &tempfile::TempDir, image: &[u8]) {
    let file = folder.path().join("new.png");
    fs::write(&file, image).unwrap();
    browser.pick("input[type=file]", &[&file]).await;
}

/// Predicts an image of `class`, and gives the number of bars.
async fn predict(browser: &Browser, classes: usize, class: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    browser.page("#/predict").await;
    browser.click("//select/option[contains(., 'first (')]").await;
    browser
        .read(&format!("first distinguishes {classes} classes: kind 000, kind 001, kind 002 and"))
        .await;
    pick(browser, &folder, &image(class, classes, 500)).await;
    browser.see(".verdict .bars li").await;
    let script = "return document.querySelectorAll('.verdict .bars li').length";
    let bars = browser.client.execute(script, vec![]).await.unwrap();
    // Any class that is shown can be explained.
    browser.click("//ul[@class='bars']/li[2]/button").await;
    let label = browser.see("//ul[@class='bars']/li[2]/span[1]").await.text().await.unwrap();
    browser.see(&format!("//img[contains(@alt, 'heat map for {label}')]")).await;
    bars.as_u64().unwrap() as usize
}

#[tokio::test]
async fn six_classes_are_read_relabelled_and_changed() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    train(&server, 6, 20).await;
    assert_eq!(predict(&browser, 6, 1).await, 5);
    fits_a_phone(&browser).await;

    browser.page("#/jobs/first").await;
    browser.see("//table[contains(@class, 'matrix')]//tr[6]/td[6]").await;
    browser.see("//caption[.='Calibration (lower is better)']").await;
    browser
        .see("//figure[figcaption='Accuracy by share of answered images']//*[name()='polyline']")
        .await;
    browser.click("//th/button[.='Recall']").await;
    browser.see("//th[@aria-sort='ascending']/button[.='Recall']").await;
    browser.click("//label[.='Curves of']/following-sibling::select/option[.='kind 003']").await;
    browser
        .see("//figure[figcaption='ROC curve']//*[name()='svg'][contains(@aria-label, 'kind 003')]")
        .await;

    thresholds(&browser, &server).await;
    gallery(&browser, &server).await;
    manage(&browser, &server).await;
    browser.assert_clean(&server).await;
    browser.close().await;
}

/// Chooses on the model's page when the model is unsure.
async fn thresholds(browser: &Browser, server: &Process) {
    browser.page("#/models/first").await;
    let slider = browser.see("//label[.='Minimum probability']/following-sibling::input").await;
    slider.send_keys(&Key::End.to_string()).await.unwrap();
    browser.push("Save").await;
    let coverage = server.get("/models/first/coverage").await;
    let surest = coverage.as_array().unwrap().last().unwrap()["threshold"].as_f64().unwrap();
    browser.read(&format!("Now: unsure below a probability of {surest:.3}.")).await;
    let model = server.get("/models/first").await;
    assert_eq!(model["answer_above"], surest);

    let limit = model["unlike_above"].clone();
    assert!(limit.is_f64(), "{model}");
    for (on, expected) in [("false", Value::Null), ("true", limit)] {
        browser.click("button[role=switch]").await;
        browser.see(&format!("button[role=switch][aria-checked={on}]")).await;
        assert_eq!(server.get("/models/first").await["unlike_above"], expected);
    }
    browser.write("Or target accuracy (%)", "0").await;
    browser.push("Set").await;
    browser.read("never unsure because of a low probability").await;
    assert_eq!(server.get("/models/first").await["answer_above"], 0.0);

    let strict = json!({ "answer_above": 1.0, "unlike_above": null });
    assert_eq!(server.ask(Method::PATCH, "/models/first", Some(strict)).await.0, 200);
    browser.page("#/predict").await;
    let folder = tempfile::tempdir().unwrap();
    pick(browser, &folder, &image(2, 6, 501)).await;
    browser.see("//div[@class='verdict'][.//span[@class='label'][starts-with(., 'kind')]]//span[.='Unsure: low confidence']").await;
}

async fn gallery(browser: &Browser, server: &Process) {
    browser.page("#/datasets/kinds").await;
    let first = browser.see("ul[role=listbox] li[tabindex='0']").await;
    let shown = first.attr("title").await.unwrap().unwrap();
    let to = if shown.starts_with("kind 002") { "4" } else { "3" };
    first.send_keys(to).await.unwrap();
    browser
        .see(&format!("//ul[@role='listbox']/li[1][not(starts-with(@title, {:?}))]", &shown[..8]))
        .await;
    let now = server.get("/datasets/kinds").await["counts"].clone();
    let counts: Vec<_> = (0..6)
        .map(|class| {
            ["train", "validation", "test"]
                .iter()
                .map(|split| now[split][name(class)].as_u64().unwrap())
                .sum::<u64>()
        })
        .collect();
    assert_eq!((counts.iter().min(), counts.iter().max()), (Some(&19), Some(&21)));
}

/// Adds, renames, merges and deletes classes.
async fn manage(browser: &Browser, server: &Process) {
    let classes = || async { server.get("/datasets/kinds").await["classes"].clone() };
    browser.write("New class", "zebra").await;
    browser.push("Add class").await;
    browser.see("//h2[.='7 classes']").await;
    browser.read("zebra has no images").await;
    browser.click("button[aria-label='Rename zebra']").await;
    browser.write("New name of zebra", "yak").await;
    browser.click("//dialog//button[.='Rename']").await;
    browser.click("button[aria-label='Delete yak']").await;
    browser.see("//dialog//p[.='Delete the class yak? It has no images.']").await;
    browser.click("//dialog//button[.='Delete']").await;
    browser.see("//h2[.='6 classes']").await;

    // Typing filters, Enter chooses; nothing happens before it is confirmed.
    browser.click("button[aria-label='Merge kind 005 into another class']").await;
    let search = browser.see("dialog input[role=combobox]").await;
    search.send_keys(&format!("4{}", Key::Enter)).await.unwrap();
    browser
        .see("//dialog//p[contains(., 'of kind 005 to kind 004 and remove the class kind 005?')]")
        .await;
    assert_eq!(classes().await.as_array().unwrap().len(), 6);
    browser.click("//dialog//button[.='Merge']").await;
    browser.see("//h2[.='5 classes']").await;
    let expected: Vec<_> = (0..5).map(name).collect();
    assert_eq!(classes().await, json!(expected));
}

#[tokio::test]
async fn two_hundred_classes_fit_on_the_pages() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    train(&server, 200, 4).await;
    assert_eq!(predict(&browser, 200, 17).await, 5);
    fits_a_phone(&browser).await;

    // The heat map is walked by keyboard, and opens the images of a cell.
    browser.page("#/jobs/first").await;
    let map = browser.see(".heat-area").await;
    let pair = browser.see("//ol[@class='pairs']/li[1]/button").await.text().await.unwrap();
    map.send_keys(&format!("{}{}", Key::Right, Key::Down)).await.unwrap();
    browser
        .see("//div[@class='heat']/div[contains(@class, 'tip')][contains(., 'classified')]")
        .await;
    browser.click("button[aria-label='Zoom in']").await;
    browser.click("//ol[@class='pairs']/li[1]/button").await;
    let (label, predicted) = pair.split_once(':').unwrap().0.split_once(" classified as ").unwrap();
    let chosen = "return [...document.querySelectorAll('[aria-label=\"Misclassified images\"] select')].map((one) => one.value)";
    let chosen = browser.client.execute(chosen, vec![]).await.unwrap();
    assert_eq!(chosen, json!([label, predicted]));
    relabel_by_search(&browser, &server).await;
    browser.assert_clean(&server).await;
    browser.close().await;
}

/// Of so many classes, one is searched for.
async fn relabel_by_search(browser: &Browser, server: &Process) {
    browser.page("#/datasets/kinds").await;
    browser.see("ul[role=listbox] li[tabindex='0']").await.send_keys("l").await.unwrap();
    let search = browser.see("dialog input[role=combobox]").await;
    search.send_keys(&format!("d 12{}{}", Key::Down, Key::Enter)).await.unwrap();
    browser.see("//ul[@role='listbox']/li[starts-with(@title, 'kind 121')]").await;
    let counts = server.get("/datasets/kinds").await["counts"].clone();
    let images = |split: &str| counts[split]["kind 121"].as_u64().unwrap();
    assert_eq!(["train", "validation", "test"].map(images).iter().sum::<u64>(), 5);
}
