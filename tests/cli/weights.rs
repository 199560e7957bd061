//! `pawprint weights`: shown, supplied, downloaded.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    body::Bytes,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::common::{pawprint, problem, run, serve};

fn status(state: &str) -> Value {
    json!({
        "state": state, "source": "keras", "sha256": "6d6b", "preprocessing": "caffe",
        "downloaded_bytes": null, "total_bytes": null, "error": null,
    })
}

#[tokio::test]
async fn a_file_is_sent_as_it_is_and_what_became_of_it_is_said() {
    let put = async |body: Bytes| {
        assert_eq!(&body[..], b"weights");
        Json(status("ready"))
    };
    let url = serve(Router::new().route("/weights/vgg16", get(async || "").put(put))).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vgg16.h5");
    std::fs::write(&file, "weights").unwrap();
    let ran = run(pawprint(&url, &["weights", "import", file.to_str().unwrap()])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "vgg16: ready, from keras, preprocessing caffe, sha256 6d6b\n");

    let missing = folder.path().join("nothing.h5");
    let ran = run(pawprint(&url, &["weights", "import", missing.to_str().unwrap()])).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("can't open"), "{}", ran.stderr);
    let ran = run(pawprint(&url, &["weights", "import", folder.path().to_str().unwrap()])).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
}

/// A server whose download takes two looks and then comes to `end`.
async fn downloading(end: Value) -> String {
    let looks = Arc::new(AtomicUsize::new(0));
    let show = async move || {
        let mut now = status("downloading");
        now["downloaded_bytes"] = json!(5);
        now["total_bytes"] = json!(10);
        Json(if looks.fetch_add(1, Ordering::Relaxed) < 2 { now } else { end })
    };
    let start = async |Json(body): Json<Value>| {
        assert_eq!(body["source"], "torchvision");
        (StatusCode::ACCEPTED, Json(status("downloading")))
    };
    let router = Router::new()
        .route("/weights/vgg16", get(show))
        .route("/weights/vgg16/download", post(start));
    serve(router).await
}

#[tokio::test]
async fn a_download_is_followed_to_its_end() {
    let arguments = ["weights", "fetch", "--source", "torchvision"];
    let url = downloading(status("ready")).await;
    let ran = run(pawprint(&url, &arguments)).await;
    assert_eq!((ran.code, ran.stdout.contains("ready")), (Some(0), true), "{}", ran.stderr);

    let mut failed = status("absent");
    failed["error"] = json!({ "code": "download_failed", "detail": "nobody answers there" });
    let ran = run(pawprint(&downloading(failed).await, &arguments)).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("nobody answers there"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_refused_file_is_told_with_the_servers_words() {
    let refuse = async || problem(422, "weights_unusable", "tensor `x` contains NaN");
    let url = serve(Router::new().route("/weights/vgg16", get(async || "").put(refuse))).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let ran = run(pawprint(&url, &["weights", "import", file.path().to_str().unwrap()])).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("tensor `x` contains NaN"), "{}", ran.stderr);
}

#[tokio::test]
async fn every_base_network_is_listed() {
    let shipped = json!({
        "base": "efficientnet_lite0", "state": "shipped", "source": "a package 0.1", "sha256": "5793",
        "preprocessing": "centred", "downloaded_bytes": null, "total_bytes": null, "error": null,
    });
    let mut absent = status("absent");
    absent["base"] = json!("vgg16");
    let page = json!({ "items": [shipped, absent], "next_cursor": null });
    let url = serve(Router::new().route("/weights", get(async move || Json(page)))).await;
    let ran = run(pawprint(&url, &["weights", "list"])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "efficientnet_lite0: built in, from a package 0.1, sha256 5793");
    assert!(
        lines[1].starts_with("vgg16: not installed; run `pawprint weights fetch`"),
        "{lines:?}"
    );
    let ran = run(pawprint(&url, &["weights", "list", "--json"])).await;
    assert!(ran.stdout.contains("\"shipped\""), "{}", ran.stdout);
}
