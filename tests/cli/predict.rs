//! `pawprint predict` against a server that refuses some images.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Multipart, Query},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::common::{pawprint, problem, run, serve};

/// Labels an image `dog` whose text says so, else `cat`; refuses a request with `bad` in it.
async fn label(Query(query): Query<Value>, mut form: Multipart) -> Response {
    let mut predictions = Vec::new();
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.file_name().unwrap().to_owned();
        let text = field.text().await.unwrap();
        if text == "bad" {
            return problem(422, "invalid_image", "one image can't be decoded");
        }
        let label = if text.contains("dog") { "dog" } else { "cat" };
        predictions.push(
            json!({ "file_name": name, "label": label, "probability": 0.97, "probabilities": {} }),
        );
    }
    let model = query.get("model").cloned().unwrap_or(json!("in-service"));
    Json(json!({ "predictions": predictions, "model": { "name": model }, "timing_ms": {} }))
        .into_response()
}

/// A server that labels, and how many requests and most images of one it has seen.
async fn labeller() -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let counted = async move |query, form| {
        seen.fetch_add(1, Ordering::SeqCst);
        label(query, form).await
    };
    (serve(Router::new().route("/predict", post(counted))).await, count)
}

fn photos(contents: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = contents
        .iter()
        .enumerate()
        .map(|(index, content)| {
            let path = folder.path().join(format!("{index:03}.jpg"));
            fs::write(&path, content).unwrap();
            path
        })
        .collect();
    (folder, paths)
}

/// Is unsure of everything, and gives as many classes as are asked for.
async fn unsure(Query(query): Query<Value>, _: Multipart) -> Response {
    let all = [("dog", 0.2_f64), ("emu", 0.1), ("cat", 0.7)];
    let mut ranked = all;
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let top = query["top"].as_str().map_or(all.len(), |top| top.parse().unwrap());
    let probabilities: serde_json::Map<String, Value> =
        ranked[..top].iter().map(|(class, it)| ((*class).to_owned(), json!(it))).collect();
    let prediction = json!({
        "file_name": null, "label": "cat", "probability": 0.7, "probabilities": probabilities,
        "unsure": true, "reason": "unlike_training",
    });
    Json(json!({ "predictions": [prediction], "model": {}, "timing_ms": {} })).into_response()
}

#[tokio::test]
async fn the_most_likely_classes_are_listed_and_why_the_model_is_unsure() {
    let url = serve(Router::new().route("/predict", post(unsure))).await;
    let (_folder, paths) = photos(&["cat"]);
    let file = paths[0].to_str().unwrap();
    let why = "unsure (unlike the training images)";
    for (top, expected) in [
        (None, "cat\t0.7000"),
        (Some("1"), "cat\t0.7000"),
        (Some("2"), "cat\t0.7000\tdog\t0.2000"),
        (Some("3"), "cat\t0.7000\tdog\t0.2000\temu\t0.1000"),
    ] {
        let arguments: Vec<_> =
            ["predict", file].into_iter().chain(top.map(|_| "--top")).chain(top).collect();
        let ran = run(pawprint(&url, &arguments)).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stdout, format!("{file}\t{expected}\t{why}\n"));
    }
    let ran = run(pawprint(&url, &["predict", "--top", "0", file])).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}

#[tokio::test]
async fn many_images_go_in_a_few_requests_and_come_back_in_order() {
    let (url, requests) = labeller().await;
    let contents: Vec<_> =
        (0..70).map(|index| if index % 3 == 0 { "dog" } else { "cat" }).collect();
    let (folder, paths) = photos(&contents);
    let ran = run(pawprint(&url, &["predict", folder.path().to_str().unwrap()])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let expected: Vec<_> = paths
        .iter()
        .zip(&contents)
        .map(|(path, label)| format!("{}\t{label}\t0.9700", path.display()))
        .collect();
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected);
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_image_that_is_refused_does_not_keep_the_others_from_being_answered() {
    let (url, _) = labeller().await;
    let mut contents = vec!["cat"; 40];
    for bad in [0, 17, 31, 39] {
        contents[bad] = "bad";
    }
    let (folder, paths) = photos(&contents);
    let missing = folder.path().join("missing.jpg");
    let mut arguments = vec!["predict", "--json", missing.to_str().unwrap()];
    arguments.extend(paths.iter().map(|path| path.to_str().unwrap()));
    let ran = run(pawprint(&url, &arguments)).await;
    assert_eq!(ran.code, Some(1));
    let answered: Vec<_> = ran.documents().iter().map(|answer| answer["file"].clone()).collect();
    let expected: Vec<_> = paths
        .iter()
        .zip(&contents)
        .filter(|(_, content)| **content != "bad")
        .map(|(path, _)| json!(path))
        .collect();
    assert_eq!(answered, expected, "{}", ran.stderr);
    assert_eq!(ran.documents()[0]["model"]["name"], "in-service");
    let problems = ran.problems();
    assert_eq!(problems.len(), 5);
    assert_eq!(
        (&problems[0]["code"], &problems[0]["file"]),
        (&json!("unreadable"), &json!(missing))
    );
    assert_eq!(
        (&problems[1]["code"], &problems[1]["file"]),
        (&json!("invalid_image"), &json!(paths[0]))
    );
    assert_eq!(problems[1]["status"], 422);

    let ran = run(pawprint(&url, &["predict", paths[0].to_str().unwrap()])).await;
    assert_eq!(
        ran.stderr,
        format!("{}: one image can't be decoded (invalid_image)\n", paths[0].display())
    );
}

#[tokio::test]
async fn a_dash_is_standard_input_and_a_model_can_be_named() {
    let (url, _) = labeller().await;
    let mut command = pawprint(&url, &["predict", "--json", "--model", "run-1", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a dog").await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["file"], &answer["label"], &answer["model"]["name"]),
        (&json!("-"), &json!("dog"), &json!("run-1"))
    );
}

#[tokio::test]
async fn a_full_server_is_asked_again() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&attempts);
    let full_at_first = async move |query, form| match counter.fetch_add(1, Ordering::SeqCst) {
        0 => {
            let mut full =
                problem(429, "queue_full", "too many prediction requests are in progress");
            full.headers_mut().insert("retry-after", "0".parse().unwrap());
            full
        }
        _ => label(query, form).await,
    };
    let url = serve(Router::new().route("/predict", post(full_at_first))).await;
    let (_folder, paths) = photos(&["dog"]);
    let ran = run(pawprint(&url, &["predict", paths[0].to_str().unwrap()])).await;
    assert_eq!((ran.code, attempts.load(Ordering::SeqCst)), (Some(0), 2), "{}", ran.stderr);
}

#[tokio::test]
async fn a_refusal_of_the_request_itself_ends_the_command() {
    let refuse = || async { problem(404, "not_found", "there is no model `run-9`") };
    let url = serve(Router::new().route("/predict", post(refuse))).await;
    let (folder, _paths) = photos(&["dog", "cat"]);
    let folder = folder.path().to_str().unwrap();
    let ran = run(pawprint(&url, &["predict", "--model", "run-9", folder])).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(1), "error: there is no model `run-9`\n"));
}
