//! Two models on the same test images.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    assert_described, classes,
    common::{self, Server, process::photos},
    counts, model, server, swapped,
};

async fn compare(server: &Server, first: &str, second: &str) -> Value {
    server.get(&format!("/models/{first}/compare?with={second}")).await.ok()
}

#[tokio::test]
async fn models_are_compared_on_the_test_images_of_the_newer_ones_job() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    let same = compare(&server, "first", "default").await;
    assert_described(&server, "ModelComparison", &same).await;
    assert_eq!(
        (&same["job"], &same["dataset"], &same["count"]),
        (&json!("first"), &json!("pets"), &json!(8))
    );
    assert_eq!(
        (&same["only_first"], &same["only_second"], &same["differing"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert_eq!(
        (&same["verdict"], &same["p_value"], &same["images_needed"]),
        (&json!("inconclusive"), &json!(1.0), &Value::Null)
    );
    assert_eq!(
        (&same["first"]["trained_on"], &same["second"]["trained_on"]),
        (&json!(0), &Value::Null)
    );
    let unknown = "Whether default was trained on some of these images is not known.";
    assert_eq!(same["summary"].as_array().unwrap().last().unwrap(), unknown);

    // What a request gets is what is compared.
    let (mut correct, mut log_loss) = (0, 0.0);
    let images = server.listed("&split=test").await;
    for image in &images {
        let bytes = server.get(&format!("/images/{}", image["id"].as_str().unwrap())).await.body;
        let answer = server.post("/predict", bytes).await.ok();
        let prediction = &answer["predictions"][0];
        let label = image["label"].as_str().unwrap();
        correct += u32::from(prediction["label"] == label);
        log_loss -= prediction["probabilities"][label].as_f64().unwrap().ln() / images.len() as f64;
    }
    assert_eq!(same["second"]["accuracy"], f64::from(correct) / 8.0);
    assert!((same["second"]["log_loss"].as_f64().unwrap() - log_loss).abs() < 1e-6, "{same}");

    model(&server, "opposite", "pets", swapped).await;
    let opposite = compare(&server, "opposite", "first").await;
    assert_eq!((&opposite["job"], &opposite["differing"]), (&json!("opposite"), &json!(8)));
    assert_eq!((&opposite["both_correct"], &opposite["both_wrong"]), (&json!(0), &json!(0)));
    assert_eq!(opposite["only_second"], correct);
    let listed = opposite["differences"].as_array().unwrap();
    assert_eq!(listed.len(), 8);
    for image in listed {
        assert_ne!(image["first"]["label"], image["second"]["label"]);
        assert!(image["file_name"].as_str().unwrap().starts_with("test/"), "{image}");
    }
    let labels = counts(listed.iter().map(|image| image["label"].as_str().unwrap()));
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), [("cat", 4), ("dog", 4)]);

    // The other way round, on the same images.
    let reverse = compare(&server, "first", "opposite").await;
    assert_eq!(
        (&reverse["job"], &reverse["only_first"]),
        (&json!("opposite"), &opposite["only_second"])
    );
    assert_eq!(reverse["differences"][0]["first"], opposite["differences"][0]["second"]);
    // Ids, the model in service and another job can be named as well.
    let id = opposite["second"]["id"].as_str().unwrap().to_owned();
    let named = server.get(&format!("/models/current/compare?with={id}&job=opposite")).await.ok();
    assert_eq!((&named["first"]["name"], &named["job"]), (&json!("default"), &json!("opposite")));
}

#[tokio::test]
async fn test_images_that_a_model_was_trained_on_are_counted() {
    let server = server().await;
    server
        .json("POST", "/datasets", json!({ "name": "leaky", "classes": ["cat", "dog"] }))
        .await
        .ok();
    // Three of the test images of pets are training images here.
    let mut files = photos(8);
    let mut moved = 0;
    for (name, _) in &mut files {
        if name.starts_with("test/cat/") && moved < 3 {
            *name = name.replacen("test", "train", 1).leak();
            moved += 1;
        }
    }
    server.post("/datasets/leaky/archive", common::tar(&files)).await.ok();
    model(&server, "leaky", "leaky", |_| {}).await;
    model(&server, "clean", "pets", |_| {}).await;
    let comparison = compare(&server, "clean", "leaky").await;
    assert_eq!(comparison["first"]["trained_on"], 0);
    assert_eq!(comparison["second"]["trained_on"], 3);
    let sentence = "leaky was trained on 3 of these images, which favours it.";
    assert!(comparison["summary"].as_array().unwrap().contains(&json!(sentence)), "{comparison}");
}

#[tokio::test]
async fn what_can_not_be_compared_is_refused_with_the_reason() {
    let server = server().await;
    model(&server, "pets-1", "pets", |_| {}).await;
    model(&server, "parts-1", "pets", |card| card.classes = classes(["good", "bad"])).await;
    let get = async |path: &str| server.get(path).await;
    get("/models/none/compare?with=pets-1").await.problem(404, "not_found");
    get("/models/pets-1/compare?with=none").await.problem(404, "not_found");
    let missing = get("/models/pets-1/compare").await.problem(422, "invalid_value");
    assert_eq!(missing["field"], "with");
    let other = get("/models/pets-1/compare?with=parts-1").await.problem(409, "other_classes");
    assert_eq!(
        other["detail"],
        "`parts-1` has different classes (good, bad) than the test images of the job `parts-1` (cat, dog)"
    );
    get("/models/pets-1/compare?with=default&job=none").await.problem(404, "not_found");
    let none = get("/models/default/compare?with=default").await.problem(409, "no_test_images");
    assert!(none["detail"].as_str().unwrap().contains("name another job"), "{none}");

    // A file that can't be loaded.
    let broken = model(&server, "broken", "pets", |_| {}).await;
    std::fs::write(server.app.data_dir.model(broken), "no model").unwrap();
    let problem = get("/models/broken/compare?with=default").await.problem(422, "model_unusable");
    assert!(problem["detail"].as_str().unwrap().contains("can't be used"), "{problem}");
    // Nothing is left behind: the others can still be compared.
    compare(&server, "pets-1", "default").await;
}

#[tokio::test]
async fn images_that_are_no_longer_stored_are_left_out() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    let test = server.listed("&split=test").await;
    for image in &test[..3] {
        let sha256 = image["sha256"].as_str().unwrap();
        let path = server.folder.path().join("blobs").join(&sha256[..2]).join(sha256);
        std::fs::remove_file(path).unwrap();
    }
    let comparison = compare(&server, "first", "default").await;
    assert_eq!((&comparison["count"], &comparison["missing"]), (&json!(5), &json!(3)));
    let sentence = "3 of the test images are no longer stored and were left out.";
    assert!(comparison["summary"].as_array().unwrap().contains(&json!(sentence)), "{comparison}");
}

#[tokio::test]
async fn predictions_are_kept_and_go_with_their_model() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    model(&server, "second", "pets", swapped).await;
    let before = compare(&server, "second", "first").await;
    let rows = async || {
        let mut connection = server.app.storage.read().await.unwrap();
        let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM test_predictions");
        count.fetch_one(&mut *connection).await.unwrap()
    };
    assert_eq!(rows().await, 2);
    // Nothing is computed again: it could not be.
    std::fs::remove_dir_all(server.folder.path().join("blobs")).unwrap();
    assert_eq!(compare(&server, "second", "first").await, before);
    assert_eq!(server.delete("/models/first").await.status, 204);
    assert_eq!(rows().await, 1);
}

#[tokio::test]
async fn a_comparison_can_be_cancelled_and_begun_again() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    // No image can be decoded: as on a server that is busy with requests.
    let all = server.app.decoders.available_permits() as u32;
    let busy = server.app.decoders.acquire_many(all).await.unwrap();
    let path = "/models/first/compare?with=default";
    let mut waiting = Box::pin(server.get(path));
    let answer = loop {
        tokio::select! {
            answer = &mut waiting => break answer,
            // Until it has begun.
            () = sleep(Duration::from_millis(20)) => {
                assert_eq!(server.delete(path).await.status, 204);
            }
        }
    };
    answer.problem(409, "cancelled");
    drop(busy);
    assert_eq!(server.get(path).await.ok()["count"], 8);
    // Nothing to cancel.
    assert_eq!(server.delete(path).await.status, 204);
}

/// Of another job, or of another model that needs the same predictions.
#[tokio::test]
async fn other_comparisons_go_on_when_one_is_cancelled() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    model(&server, "second", "pets", swapped).await;
    server.get("/models/default/compare?with=second&job=second").await.ok();
    let all = server.app.decoders.available_permits() as u32;
    let default = "/models/first/compare?with=default";
    let second = "/models/first/compare?with=second";
    for (cancelled, goes_on) in [
        (format!("{default}&job=second"), format!("{default}&job=first")),
        // Only what `first` predicts is missing.
        (format!("{default}&job=second"), format!("{second}&job=second")),
    ] {
        let busy = server.app.decoders.acquire_many(all).await.unwrap();
        let mut other = Box::pin(server.get(&goes_on));
        let mut waiting = Box::pin(server.get(&cancelled));
        let answer = loop {
            tokio::select! {
                answer = &mut waiting => break answer,
                answer = &mut other => panic!("{goes_on}: {}", answer.json()),
                // Until both have begun.
                () = sleep(Duration::from_millis(20)) => {
                    assert_eq!(server.delete(&cancelled).await.status, 204);
                }
            }
        };
        answer.problem(409, "cancelled");
        drop(busy);
        assert_eq!(other.await.ok()["count"], 8, "{goes_on}");
    }
    server.delete(&format!("{default}&job=none")).await.problem(404, "not_found");
    // Without a job there is nothing to cancel.
    assert_eq!(server.delete("/models/default/compare?with=default").await.status, 204);
}

#[tokio::test]
async fn a_request_does_not_wait_for_ever() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    let all = server.app.decoders.available_permits() as u32;
    let busy = server.app.decoders.acquire_many(all).await.unwrap();
    let path = "/models/first/compare?with=default";
    let mut waiting = Box::pin(server.get(path));
    let begun = timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(begun.is_err(), "nothing can be decoded");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(20)).await;
    tokio::time::resume();
    let answer = waiting.await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json(), json!({ "done": 0, "total": 16 }));
    assert_described(&server, "ModelComparisonProgress", &answer.json()).await;
    // It goes on by itself.
    drop(busy);
    assert_eq!(server.get(path).await.ok()["count"], 8);
}
