//! Reviews of datasets: by a server as a user starts it, with its child process, on photos that are made with
//! faults.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

mod attacks;
#[path = "../common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{
    process::{PATIENCE, Process},
    tar,
};
use image::{Rgb, RgbImage, imageops};
use reqwest::Method;
use serde_json::{Value, json};

/// A photo of a class: stripes across or down, of a colour, phase and width of its own.
fn stripes(class: usize, seed: u32) -> RgbImage {
    let wave = |at: f32| (at / (4.0 + (seed % 5) as f32) + seed as f32 * 1.7).sin();
    RgbImage::from_fn(96, 80, |x, y| {
        let along = if class == 0 { x } else { y } as f32;
        let across = if class == 0 { y } else { x } as f32;
        let bright = 120.0 + 80.0 * wave(along) + (seed * 37 % 50) as f32 * (across / 60.0).cos();
        let tint = [(seed * 53 % 90) as f32, (seed * 29 % 70) as f32, (seed * 71 % 80) as f32];
        Rgb(tint.map(|tint| (bright - tint / 2.0).clamp(0.0, 255.0) as u8))
    })
}

fn png(pixels: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    pixels.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

const CLASSES: [&str; 2] = ["across", "down"];

/// 30 photos of each of two classes; the first of each class has the label of the other.
fn faulty() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (class, own) in CLASSES.iter().enumerate() {
        for number in 0..30 {
            let label = if number == 0 { 1 - class } else { class };
            let split = ["train", "train", "test", "validation"][number as usize % 4];
            let name = format!("{split}/{}/{own}-{number}.png", CLASSES[label]);
            files.push((name, png(&stripes(class, number + 40 * class as u32))));
        }
    }
    files
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let named: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    tar(&named)
}

async fn import(server: &Process, query: &str, files: &[(String, Vec<u8>)]) {
    let path = format!("/datasets/faulty/archive{query}");
    let answer = server.request(Method::POST, &path).body(archive(files)).send().await.unwrap();
    let report: Value = answer.json().await.unwrap();
    assert_eq!(report["added"], files.len(), "{report}");
}

async fn reviewed(server: &Process) -> Value {
    let begun = Instant::now();
    loop {
        let state = server.get("/datasets/faulty/review").await;
        if state["status"] == "complete" {
            return state;
        }
        assert!(["waiting", "running"].contains(&state["status"].as_str().unwrap()), "{state}");
        assert!(begun.elapsed() < PATIENCE, "{state}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn list(server: &Process, list: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/datasets/faulty/review/{list}?limit=2{cursor}");
        let page = server.get(&path).await;
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

fn names(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["image"]["file_name"].as_str().unwrap()).collect()
}

async fn decide(server: &Process, list: &str, id: &Value, decision: &str) {
    let body = json!({ "list": list, "images": [id], "decision": decision });
    let (status, answer) = server.post("/datasets/faulty/review/decisions", body).await;
    assert_eq!((status, &answer["decided"]), (200, &json!(1)), "{answer}");
}

#[tokio::test]
async fn what_a_dataset_hides_is_found_and_decisions_are_remembered() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    server.post("/datasets", json!({ "name": "faulty" })).await;
    let path = "/datasets/faulty/review";
    assert_eq!(server.get(path).await["status"], "too_few_images");
    let (status, problem) = server.ask(Method::GET, &format!("{path}/mislabelled"), None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("not_reviewed")));

    let mut files = faulty();
    // The same shot in the test split, mirrored and smaller.
    let twin = imageops::flip_horizontal(&stripes(1, 50));
    let twin = imageops::resize(&twin, 72, 60, imageops::FilterType::Triangle);
    files.push(("test/down/twin.png".to_owned(), png(&twin)));
    let black = RgbImage::from_pixel(96, 80, Rgb([3, 3, 3]));
    files.push(("train/across/black.png".to_owned(), png(&black)));
    import(&server, "", &files).await;
    let state = reviewed(&server).await;
    assert_eq!(state["result"]["labelled"], 62);
    assert_eq!(state["result"]["out_of_date"], false);

    // Both wrong labels come first, with the class that they look like.
    let suspects = list(&server, "mislabelled").await;
    let wrong = ["train/across/down-0.png", "train/down/across-0.png"];
    assert!(wrong.iter().all(|it| names(&suspects)[..2].contains(it)), "{suspects:?}");
    for suspect in suspects.iter().filter(|it| wrong.contains(&names(&[(*it).clone()])[0])) {
        let file = suspect["image"]["file_name"].as_str().unwrap();
        assert!(
            file.contains(&format!("/{}-", suspect["suggested"].as_str().unwrap())),
            "{suspect}"
        );
    }
    // A decision hides it, and is undone.
    let id = &suspects[0]["image"]["id"];
    decide(&server, "mislabelled", id, "confirmed").await;
    assert_eq!(list(&server, "mislabelled").await.len(), suspects.len() - 1);
    assert_eq!(server.get(path).await["result"]["mislabelled"], suspects.len() - 1);
    decide(&server, "mislabelled", id, "undecided").await;
    assert_eq!(server.get(path).await["result"]["mislabelled"], suspects.len());
    assert_eq!(names(&list(&server, "mislabelled").await), names(&suspects));

    // The twins are across splits, until they are joined.
    let groups = list(&server, "duplicates").await;
    let twins = groups.iter().find(|group| {
        let images = group["images"].as_array().unwrap();
        images.iter().any(|image| image["file_name"] == "test/down/twin.png")
    });
    let twins = twins.unwrap();
    let files: Vec<_> =
        twins["images"].as_array().unwrap().iter().map(|it| it["file_name"].as_str()).collect();
    assert!(files.contains(&Some("test/down/down-10.png")) || twins["across_splits"] == true);
    // A group is listed until all its images are dismissed: they don't hide one that comes later.
    let ids: Vec<_> = twins["images"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    let (last, others) = ids.split_last().unwrap();
    for id in others {
        decide(&server, "duplicates", id, "dismissed").await;
    }
    assert_eq!(list(&server, "duplicates").await.len(), groups.len());
    decide(&server, "duplicates", last, "dismissed").await;
    assert_eq!(list(&server, "duplicates").await.len(), groups.len() - 1);
    // It is again once images that were in one split are separated. Only a person joins it then.
    let join = format!("{path}/join");
    let (status, joined) = server.post(&join, json!({ "images": ids, "split": "train" })).await;
    assert_eq!(status, 200, "{joined}");
    for id in &ids {
        decide(&server, "duplicates", id, "dismissed").await;
    }
    let is_listed = async |split: &str| {
        let image = format!("/datasets/faulty/images/{}", last.as_str().unwrap());
        let (status, _) = server.ask(Method::PATCH, &image, Some(json!({ "split": split }))).await;
        assert_eq!(status, 200);
        assert_eq!(server.post(&join, json!({})).await.0, 200);
        let groups = list(&server, "duplicates").await;
        groups.iter().any(|group| {
            let images = group["images"].as_array().unwrap();
            assert!(group["across_splits"] == false || images.iter().any(|it| it["id"] == **last));
            images.iter().any(|it| it["id"] == **last)
        })
    };
    assert!(!is_listed("train").await);
    assert!(is_listed("validation").await);
    assert!(!is_listed("train").await);
    decide(&server, "duplicates", last, "undecided").await;
    let (status, joined) = server.post(&join, json!({})).await;
    assert_eq!(status, 200, "{joined}");
    assert!(list(&server, "duplicates").await.iter().all(|it| it["across_splits"] == false));

    let outliers = list(&server, "outliers").await;
    let black = outliers.iter().find(|it| it["image"]["file_name"] == "train/across/black.png");
    let reasons = black.unwrap()["reasons"].as_array().unwrap();
    assert!(reasons.contains(&json!("dark")) && reasons.contains(&json!("blank")), "{reasons:?}");

    let map = server.get(&format!("{path}/map")).await;
    for field in ["images", "x", "y", "labels"] {
        assert_eq!(map[field].as_array().unwrap().len(), 62, "{field}");
    }
    assert_eq!(map["mislabelled"].as_array().unwrap().len(), suspects.len());

    // A relabelled image is no longer listed, and the review is computed again.
    let image = format!("/datasets/faulty/images/{}", id.as_str().unwrap());
    let label = suspects[0]["suggested"].clone();
    let before = server.get(path).await["result"]["computed_at"].clone();
    let stray = data.path().join("reviews/stray");
    std::fs::write(&stray, "not of a dataset").unwrap();
    assert_eq!(server.ask(Method::PATCH, &image, Some(json!({ "label": label }))).await.0, 200);
    assert!(!names(&list(&server, "mislabelled").await).contains(&names(&suspects)[0]));
    assert_eq!(server.get(path).await["result"]["out_of_date"], true);
    let (status, _) = server.post(path, json!({})).await;
    assert_eq!(status, 202);
    let again = reviewed(&server).await;
    assert_ne!(again["result"]["computed_at"], before);

    // What is kept survives the server, and goes with the dataset.
    drop(server);
    let server = Process::start(data.path());
    assert_eq!(server.get(path).await["status"], "complete");
    assert_eq!(server.ask(Method::DELETE, "/datasets/faulty", None).await.0, 204);
    let begun = Instant::now();
    while std::fs::read_dir(data.path().join("reviews")).unwrap().count() > 1 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(stray.exists());
}

#[tokio::test]
async fn unlabelled_images_are_apart_until_they_have_a_label() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    server.post("/datasets", json!({ "name": "faulty" })).await;
    import(&server, "", &faulty()).await;
    let before = server.get("/datasets/faulty").await;
    let unlabelled: Vec<_> = (0..6)
        .map(|number| (format!("new/{number}.png"), png(&stripes(number % 2, 200 + number as u32))))
        .collect();
    import(&server, "?labels=none", &unlabelled).await;
    // The same again, and an image that has a label, are duplicates.
    let again = [&unlabelled[..1], &faulty()[..1]].concat();
    let request = server.request(Method::POST, "/datasets/faulty/archive?labels=none");
    let report: Value = request.body(archive(&again)).send().await.unwrap().json().await.unwrap();
    assert_eq!((&report["added"], &report["duplicates"]), (&json!(0), &json!(2)), "{report}");

    let now = server.get("/datasets/faulty").await;
    assert_eq!(now["unlabelled"], 6);
    for field in ["version", "counts", "images", "bytes", "classes"] {
        assert_eq!(now[field], before[field], "{field}");
    }
    let images = server.get("/datasets/faulty/images?limit=500").await;
    assert_eq!(images["items"].as_array().unwrap().len(), 60);

    reviewed(&server).await;
    let items = list(&server, "unlabelled").await;
    assert_eq!(items.len(), 6);
    let margins: Vec<f64> = items.iter().map(|it| it["margin"].as_f64().unwrap()).collect();
    assert!(margins.is_sorted(), "{margins:?}");
    let right = items.iter().filter(|item| {
        let number: usize = item["image"]["file_name"].as_str().unwrap()[4..5].parse().unwrap();
        item["suggested"] == CLASSES[number % 2]
    });
    assert!(right.count() >= 5, "{items:?}");

    // Of what is joined, those without a label stay as they are.
    let join = json!({ "images": [items[0]["image"]["id"], images["items"][0]["id"]] });
    let (status, joined) = server.post("/datasets/faulty/review/join", join).await;
    assert_eq!((status, &joined["moved"]), (200, &json!(0)), "{joined}");
    let id = items[0]["image"]["id"].as_str().unwrap();
    let file = server.request(Method::GET, &format!("/images/{id}")).send().await.unwrap();
    assert_eq!(file.status(), 200);
    let thumbnail = server.request(Method::GET, &format!("/images/{id}/thumbnail"));
    assert_eq!(thumbnail.send().await.unwrap().status(), 200);
    let path = format!("/datasets/faulty/images/{id}");
    let (status, problem) =
        server.ask(Method::PATCH, &path, Some(json!({ "split": "test" }))).await;
    assert_eq!((status, &problem["code"]), (409, &json!("unlabelled")));
    let change = json!({ "label": "down", "split": "test" });
    let (status, image) = server.ask(Method::PATCH, &path, Some(change)).await;
    assert_eq!((status, &image["id"], &image["split"]), (200, &json!(id), &json!("test")));
    assert_eq!(list(&server, "unlabelled").await.len(), 5);
    let other = items[1]["image"]["id"].as_str().unwrap();
    let path = format!("/datasets/faulty/images/{other}");
    assert_eq!(server.ask(Method::DELETE, &path, None).await.0, 204);
    // One that is uploaded again, in a folder, gets its label.
    let third = items[2]["image"]["file_name"].as_str().unwrap();
    let bytes = unlabelled.iter().find(|(name, _)| name == third).unwrap().1.clone();
    import(&server, "", &[("train/down/labelled.png".to_owned(), bytes)]).await;
    let now = server.get("/datasets/faulty").await;
    assert_eq!((&now["unlabelled"], &now["images"]), (&json!(3), &json!(62)));
}

#[tokio::test]
async fn a_review_is_cancelled_and_resumed_and_jobs_come_first() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    server.post("/datasets", json!({ "name": "faulty" })).await;
    import(&server, "", &faulty()).await;
    let path = "/datasets/faulty/review";
    let (status, state) = server.ask(Method::DELETE, path, None).await;
    assert_eq!((status, &state["status"]), (200, &json!("cancelled")), "{state}");
    tokio::time::sleep(Duration::from_secs(8)).await;
    let state = server.get(path).await;
    assert_eq!((&state["status"], &state["result"]), (&json!("cancelled"), &Value::Null));

    // While a job is running, a review waits, whoever asks for it.
    let job = json!({ "recipe": "scratch_cnn", "dataset": "faulty", "name": "long",
                      "params": { "epochs": 500, "batch_size": 8 } });
    let (status, job) = server.post("/jobs", job).await;
    assert_eq!(status, 202, "{job}");
    server.epoch("long", 1).await;
    assert_eq!(server.post(path, json!({})).await.1["status"], "waiting");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.get(path).await["status"], "waiting");
    assert_eq!(server.post("/jobs/long/cancel", json!({})).await.0, 202);
    reviewed(&server).await;
}
