//! `pawprint datasets split`, and the warnings of `pawprint train`.

use axum::{Json, Router, http::StatusCode, routing::post};
use serde_json::{Value, json};

use crate::common::{job, pawprint, problem, run, serve};

/// A server where splitting `pets` gives those counts of test images.
async fn server(cat: u64, dog: u64) -> String {
    let report = json!({
        "dataset": "pets", "moved": 1, "missing": [],
        "counts": { "test": { "cat": cat, "dog": dog }, "train": { "cat": 8, "dog": 1 }, "validation": { "cat": 2, "dog": 1 } },
    });
    let split = async move || Json(report);
    let none = async || problem(404, "not_found", "there is no dataset `none`");
    let router = Router::new();
    serve(
        router.route("/datasets/pets/split", post(split)).route("/datasets/none/split", post(none)),
    )
    .await
}

#[tokio::test]
async fn a_split_dataset_is_shown_with_its_counts() {
    let url = server(2, 1).await;
    let ran = run(pawprint(&url, &["datasets", "split", "pets"])).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    let expected = "pets: 1 image moved\n  train: 8 cat, 1 dog\n  validation: 2 cat, 1 dog\n  test: 2 cat, 1 dog\n";
    assert_eq!(ran.stdout, expected);
    let ran = run(pawprint(&url, &["datasets", "split", "pets", "--json"])).await;
    assert_eq!((ran.code, &ran.documents()[0]["counts"]["test"]["cat"]), (Some(0), &json!(2)));
    let ran = run(pawprint(&url, &["datasets", "split", "none"])).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(1), "error: there is no dataset `none`\n"));
}

#[tokio::test]
async fn what_is_still_missing_after_a_split_is_noted() {
    let url = server(2, 0).await;
    let ran = run(pawprint(&url, &["datasets", "split", "pets"])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        ran.stderr,
        "pets lacks test images: `dog` has 1 training, 1 validation and no test images; add images of `dog` (at least 3 per class), then reassign all images to splits automatically (70/15/15) with `pawprint datasets split pets`\n"
    );
}

#[tokio::test]
async fn a_warning_about_a_new_job_is_printed() {
    let create = async || {
        let mut created = job("queued");
        created["warnings"] = json!([{ "code": "no_test_images", "detail": "no test images" }]);
        (StatusCode::ACCEPTED, Json(created))
    };
    let url = serve(Router::new().route("/jobs", post(create))).await;
    let ran = run(pawprint(&url, &["train", "--dataset", "pets"])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("warning: no test images\n"), "{}", ran.stderr);
    let ran = run(pawprint(&url, &["train", "--dataset", "pets", "--json"])).await;
    let warnings: &Value = &ran.documents()[0]["warnings"];
    assert_eq!((&*ran.stderr, &warnings[0]["code"]), ("", &json!("no_test_images")));
}
