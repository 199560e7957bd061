//! `pawprint datasets`, `jobs`, `models`, `cancel`, `stop` and `resume`.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, Query},
    http::StatusCode,
    response::IntoResponse as _,
    routing::{delete, get, post, put},
};
use serde_json::{Value, json};

use crate::common::{job, page, pawprint, problem, run, serve};

#[tokio::test]
async fn jobs_are_an_aligned_table() {
    let mut queued = job("queued");
    queued["name"] = json!("a-longer-name");
    queued["progress"] = Value::Null;
    queued["best"] = Value::Null;
    let mut running = job("running");
    running["service"] = json!({ "decision": "in_service", "reason": "it is better" });
    let items = json!([queued, running]);
    let url = serve(Router::new().route("/jobs", get(async move || page(&items)))).await;
    let ran = run(pawprint(&url, &["jobs"])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with(
            "NAME           RECIPE       DATASET  STATUS   EPOCH  BEST VAL ACC  MODEL         AGE"
        ),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].starts_with(
            "a-longer-name  scratch_cnn  pets     queued   -      -             -             "
        ),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with(
            "run-1          scratch_cnn  pets     running  3/30   0.7500        was selected  "
        ),
        "{}",
        lines[2]
    );
}

#[tokio::test]
async fn lists_are_read_page_by_page_up_to_the_limit() {
    let router = Router::new().route(
        "/jobs",
        get(|Query(query): Query<BTreeMap<String, String>>| async move {
            assert_eq!((&*query["status"], &*query["dataset"]), ("queued", "pets"));
            let items = vec![job("queued"); query["limit"].parse::<usize>().unwrap().min(2)];
            Json(json!({ "items": items, "next_cursor": "more" }))
        }),
    );
    let url = serve(router).await;
    let arguments = ["jobs", "--json", "--status", "queued", "--dataset", "pets", "--limit", "5"];
    let ran = run(pawprint(&url, &arguments)).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.documents()[0].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_review_estimates_no_more_wrong_labels_than_it_lists() {
    let state = json!({
        "status": "complete", "progress": null, "error": null,
        "result": {
            "out_of_date": false, "labelled": 200, "unlabelled": 0, "estimated_wrong": 7, "mislabelled": 0,
            "duplicates": 0, "duplicates_across_splits": 0, "outliers": 0,
        },
    });
    let router = Router::new().route("/datasets/pets/review", get(|| async move { Json(state) }));
    let ran = run(pawprint(&serve(router).await, &["review", "pets"])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let wanted = "0 images possibly mislabelled; about 0 labels estimated to be wrong";
    assert!(ran.stdout.contains(wanted), "{}", ran.stdout);
}

#[tokio::test]
async fn the_model_in_service_is_marked() {
    let model = |name: &str, in_service: bool| {
        json!({
            "id": name, "name": name, "recipe": "scratch_cnn", "dataset": "pets", "val_accuracy": 0.75,
            "test_accuracy": null, "bytes": 2048, "created_at": "2026-01-01T00:00:00Z", "in_service": in_service,
        })
    };
    let items = json!([model("run-2", true), model("run-1", false)]);
    let url = serve(Router::new().route("/models", get(async move || page(&items)))).await;
    let ran = run(pawprint(&url, &["models"])).await;
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(
        lines[1].starts_with("run-2  scratch_cnn  pets     0.7500   -         2.00 KiB"),
        "{}",
        ran.stdout
    );
    assert!(lines[1].ends_with("yes") && !lines[2].ends_with("yes"), "{}", ran.stdout);
}

#[tokio::test]
async fn datasets_are_listed_with_what_is_in_them() {
    let items = json!([{
        "id": "1", "name": "pets", "classes": ["cat", "dog"], "version": "00", "bytes": 2048, "created_at": "2026-01-01T00:00:00Z",
        "counts": { "train": { "cat": 7, "dog": 3 }, "validation": { "cat": 1, "dog": 2 }, "test": { "cat": 0, "dog": 0 } },
    }]);
    let url = serve(Router::new().route("/datasets", get(async move || page(&items)))).await;
    let ran = run(pawprint(&url, &["datasets"])).await;
    let line = ran.stdout.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with("pets  cat,dog  10     3           0     2.00 KiB"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_model_is_put_in_service() {
    let choose = |Json(choice): Json<Value>| async move {
        assert_eq!(choice, json!({ "model": "best" }));
        Json(json!({
            "id": "1", "name": "run-2", "recipe": "scratch_cnn", "dataset": "pets", "val_accuracy": 0.75,
            "test_accuracy": null, "bytes": 2048, "created_at": "2026-01-01T00:00:00Z", "in_service": true,
        }))
    };
    let url = serve(Router::new().route("/models/current", put(choose))).await;
    let ran = run(pawprint(&url, &["models", "use", "best"])).await;
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "model run-2 is now in service\n"));
}

#[tokio::test]
async fn what_is_no_longer_wanted_is_deleted() {
    let gone = |Path((_, name)): Path<(String, String)>| async move {
        match &*name {
            "in-use" => problem(409, "dataset_in_use", "job `run-1` uses the dataset"),
            _ => StatusCode::NO_CONTENT.into_response(),
        }
    };
    let url = serve(Router::new().route("/{collection}/{name}", delete(gone))).await;
    for collection in ["datasets", "jobs", "models"] {
        let ran = run(pawprint(&url, &[collection, "delete", "old"])).await;
        assert_eq!((ran.code, &*ran.stdout), (Some(0), "deleted old\n"), "{collection}");
    }
    let ran = run(pawprint(&url, &["datasets", "delete", "in-use"])).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(1), "error: job `run-1` uses the dataset\n"));
    let ran = run(pawprint(&url, &["models", "--json", "delete", "old"])).await;
    assert_eq!(ran.code, Some(2), "an option that would be passed over is refused");
}

#[tokio::test]
async fn a_job_is_asked_to_end_or_to_go_on() {
    let act = |Path((_, action)): Path<(String, String)>| async move {
        let status = if action == "resume" { "queued" } else { "running" };
        (StatusCode::ACCEPTED, Json(job(status)))
    };
    let url = serve(Router::new().route("/jobs/{job}/{action}", post(act))).await;
    for (action, expected) in [
        ("cancel", "job run-1 is stopping after the current batch\n"),
        (
            "stop",
            "job run-1 is running; it will evaluate and keep its best completed epoch, then finish\n",
        ),
        ("resume", "job run-1 is queued\n"),
    ] {
        let ran = run(pawprint(&url, &[action, "run-1"])).await;
        assert_eq!((ran.code, &*ran.stdout), (Some(0), expected));
    }
    let refuse = || async {
        problem(409, "job_is_over", "job `run-1` has succeeded and can't be cancelled")
    };
    let url = serve(Router::new().route("/jobs/run-1/cancel", post(refuse))).await;
    let ran = run(pawprint(&url, &["cancel", "run-1"])).await;
    assert_eq!(
        (ran.code, &*ran.stderr),
        (Some(1), "error: job `run-1` has succeeded and can't be cancelled\n")
    );
}
