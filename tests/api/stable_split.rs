//! The stable split, applied to a dataset, and what is said of one that lacks images.

use std::collections::BTreeMap;

use crate::common::{IMAGES, Server, photo};
use axum::{
    body::Body,
    http::{Request, header},
};
use serde_json::{Value, json};

/// `count` images of a class, with paths in the train split; no two numbers give the same image.
fn training(class: &str, numbers: std::ops::Range<u32>) -> Vec<(String, Vec<u8>)> {
    numbers.map(|number| (format!("train/{class}/{number}.jpg"), photo(number))).collect()
}

async fn upload(server: &Server, query: &str, files: &[(String, Vec<u8>)]) {
    let files: Vec<_> = files.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
    let report = server.upload(&format!("{IMAGES}{query}"), &files).await.ok();
    assert_eq!(report["added"], files.len(), "{report}");
}

async fn split(server: &Server) -> Value {
    server.post("/datasets/pets/split", Body::empty()).await.ok()
}

/// The split of each image of `pets`.
async fn splits(server: &Server) -> BTreeMap<String, String> {
    let images = server.listed("").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    images.iter().map(|image| (text(&image["sha256"]), text(&image["split"]))).collect()
}

async fn submit(server: &Server, name: &str) -> crate::common::Answer {
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets", "name": name });
    server.json("POST", "/jobs", job).await
}

#[tokio::test]
async fn training_folders_alone_become_trainable_in_one_request() {
    let server = Server::start().await;
    server.pets().await;
    upload(&server, "", &training("cat", 0..12)).await;
    upload(&server, "", &training("dog", 12..22)).await;

    let problem = submit(&server, "first").await.problem(422, "dataset_not_trainable");
    assert_eq!(
        problem["detail"],
        "each class needs training and validation images, but `cat` has 12 training, no validation and no test images; `dog` has 10 training, no validation and no test images; add the missing images, or reassign all images to splits automatically (70/15/15) with `pawprint datasets split pets` or `POST /datasets/pets/split`"
    );

    let report = split(&server).await;
    let dataset = server.get("/datasets/pets").await.ok();
    assert_eq!(report["counts"], dataset["counts"]);
    assert_eq!((&report["dataset"], &report["missing"]), (&json!("pets"), &json!([])));
    let moved = splits(&server).await.values().filter(|split| *split != "train").count();
    assert!(moved >= 4, "{report}");
    assert_eq!(report["moved"], moved);
    let job = submit(&server, "first").await.ok();
    assert_eq!(job["warnings"], json!([]));
    assert_eq!(job["dataset_version"], dataset["version"]);
}

#[tokio::test]
async fn it_is_the_split_of_an_upload_and_applying_it_twice_changes_nothing() {
    let server = Server::start().await;
    server.pets().await;
    let files: Vec<_> = training("cat", 0..40).into_iter().chain(training("dog", 40..80)).collect();
    let loose: Vec<_> =
        files.iter().map(|(name, bytes)| (name.replace("train/", ""), bytes.clone())).collect();
    upload(&server, "", &loose).await;
    let (by_upload, version) = (splits(&server).await, server.version().await);
    assert_eq!(split(&server).await["moved"], 0);
    assert_eq!((splits(&server).await, server.version().await), (by_upload.clone(), version));

    let server = Server::start().await;
    server.pets().await;
    upload(&server, "", &files).await;
    let first = split(&server).await;
    assert!(first["moved"].as_u64().unwrap() > 0);
    assert_eq!(splits(&server).await, by_upload);
    let version = server.version().await;
    let again = split(&server).await;
    assert_eq!((&again["moved"], &again["counts"]), (&json!(0), &first["counts"]));
    assert_eq!(server.version().await, version);
}

#[tokio::test]
async fn images_that_are_added_later_do_not_move_the_earlier_ones() {
    let server = Server::start().await;
    server.pets().await;
    // Numbers whose content fills each split of each class.
    upload(&server, "", &training("cat", 0..40)).await;
    upload(&server, "", &training("dog", 40..80)).await;
    split(&server).await;
    let before = splits(&server).await;
    upload(&server, "", &training("dog", 80..100)).await;
    split(&server).await;
    let after = splits(&server).await;
    assert_eq!(after.len(), 100);
    assert!(before.iter().all(|(image, split)| after[image] == *split));
}

#[tokio::test]
async fn a_class_of_three_images_has_one_in_each_split_and_a_smaller_one_is_named() {
    let server = Server::start().await;
    server.pets().await;
    upload(&server, "", &training("cat", 0..3)).await;
    upload(&server, "", &training("dog", 3..5)).await;
    let report = split(&server).await;
    assert_eq!(report["counts"]["train"], json!({ "cat": 1, "dog": 1 }));
    assert_eq!(report["counts"]["validation"], json!({ "cat": 1, "dog": 1 }));
    assert_eq!(report["counts"]["test"], json!({ "cat": 1, "dog": 0 }));
    assert_eq!(report["missing"], json!([{ "split": "test", "label": "dog" }]));
}

#[tokio::test]
async fn without_test_images_a_job_is_created_with_a_warning() {
    let server = Server::start().await;
    server.pets().await;
    upload(&server, "?split=train&label=cat", &training("cat", 0..3)).await;
    upload(&server, "?split=train&label=dog", &training("dog", 3..6)).await;
    upload(&server, "?split=validation&label=cat", &training("cat", 6..8)).await;
    upload(&server, "?split=validation&label=dog", &training("dog", 8..10)).await;
    upload(&server, "?split=test&label=dog", &training("dog", 10..11)).await;
    let created = submit(&server, "first").await;
    assert_eq!(created.status, 202);
    let job = created.ok();
    assert_eq!(job["warnings"].as_array().unwrap().len(), 1);
    let warning = &job["warnings"][0];
    assert_eq!(warning["code"], "no_test_images");
    let detail = warning["detail"].as_str().unwrap();
    assert!(
        detail.contains("`cat` has 3 training, 2 validation and no test images; add"),
        "{detail}"
    );
    assert!(
        detail.contains("`pawprint datasets split pets`") && !detail.contains("dog"),
        "{detail}"
    );
    // It is about the moment of creation, not the job.
    assert!(server.get("/jobs/first").await.ok()["warnings"].is_null());
}

#[tokio::test]
async fn a_job_keeps_its_snapshot() {
    let server = Server::start().await;
    server.pets().await;
    for (split, numbers) in [("train", 0..10), ("validation", 10..20)] {
        for class in ["cat", "dog"] {
            let middle = numbers.start + 5;
            let half = if class == "cat" { numbers.start..middle } else { middle..numbers.end };
            let query = format!("?split={split}&label={class}");
            upload(&server, &query, &training(class, half)).await;
        }
    }
    let job = submit(&server, "first").await.ok();
    let manifest = server.folder.path().join("jobs").join(job["id"].as_str().unwrap());
    let files = || {
        let files = walkdir::WalkDir::new(&manifest).sort_by_file_name().into_iter().flatten();
        let files = files.filter(|entry| entry.file_type().is_file());
        files.map(|entry| std::fs::read(entry.path()).unwrap()).collect::<Vec<_>>()
    };
    let before = files();
    assert!(!before.is_empty());
    assert!(split(&server).await["moved"].as_u64().unwrap() > 0);
    assert_eq!(files(), before);
    assert_ne!(server.version().await, job["dataset_version"]);
}

#[tokio::test]
async fn it_needs_a_dataset_and_ignores_a_body() {
    let server = Server::start().await;
    server.post("/datasets/pets/split", Body::empty()).await.problem(404, "not_found");
    server.pets().await;
    let empty = server.json("POST", "/datasets/pets/split", json!({})).await.ok();
    assert_eq!((&empty["moved"], empty["missing"].as_array().unwrap().len()), (&json!(0), 6));
    let request = Request::post("/datasets/pets/split").header(header::CONTENT_LENGTH, 0);
    assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status, 200);
}
