//! Where the VGG16 weights of a job come from: downloaded when it needs them, or supplied.
#![cfg(target_os = "linux")]

use std::time::Duration;

use crate::common::{Server, process::PATIENCE, vgg16_weights};
use pawprint::{
    domain::dataset::Digest,
    pretrained::Sources,
    pretrained::download::{Checksum, Source},
};
use serde_json::{Value, json};

/// A server of weights: `bytes` under any path.
async fn mirror(bytes: Vec<u8>) -> String {
    let router = axum::Router::new().fallback(move || {
        let bytes = bytes.clone();
        async move { bytes }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/weights", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A server that downloads from `url`, where a file that begins with that hash is to be.
async fn downloading(url: String, checksum: [u8; 4]) -> Server {
    let source =
        Source { url: url.into(), checksum: Checksum::Sha256Prefix(checksum), bytes: None };
    let server = Server::with(|config| {
        config.weights = Sources { keras: source.clone(), torchvision: source };
        config.trainer_program = Some(env!("CARGO_BIN_EXE_pawprint").into());
    })
    .await;
    tokio::spawn(server.app.scheduler.clone().run());
    server
}

async fn finished(server: &Server, job: &str) -> Value {
    let mut changes = server.app.scheduler.changes();
    let wait = async {
        loop {
            let job = server.get(&format!("/jobs/{job}")).await.ok();
            if job["finished_at"] != Value::Null {
                return job;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

async fn vgg16_job(server: &Server) -> Value {
    server.pets().await;
    server
        .post("/datasets/pets/archive", crate::common::tar(&crate::common::process::photos(4)))
        .await
        .ok();
    let body = json!({ "recipe": "vgg16_features", "dataset": "pets", "params": { "epochs": 1, "batch_size": 4 } });
    let job = server.json("POST", "/jobs", body).await.ok();
    finished(server, job["id"].as_str().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_downloads_the_weights_it_needs() {
    let bytes = vgg16_weights("keras_published.h5");
    let hash = Digest::of(&bytes);
    let prefix = *hash.0.first_chunk().unwrap();
    let server = downloading(mirror(bytes).await, prefix).await;
    assert_eq!(server.get("/weights/vgg16").await.ok()["state"], "absent");
    let job = vgg16_job(&server).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let status = server.get("/weights/vgg16").await.ok();
    assert_eq!((&status["state"], &status["preprocessing"]), (&json!("ready"), &json!("caffe")));
    assert_eq!(status["sha256"], hash.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_weights_cannot_be_had_says_how_to_supply_them() {
    let server = downloading(mirror(b"something else".to_vec()).await, [0; 4]).await;
    let job = vgg16_job(&server).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("weights_unavailable"))
    );
    let detail = job["error"]["detail"].as_str().unwrap();
    for way in ["pawprint weights import", "pawprint weights fetch", "checksum mismatch"] {
        assert!(detail.contains(way), "{detail}");
    }
    let status = server.get("/weights/vgg16").await.ok();
    assert_eq!(
        (&status["state"], &status["error"]["code"]),
        (&json!("absent"), &json!("download_failed"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_a_person_supplies_end_a_download() {
    let router = axum::Router::new().fallback(async || {
        axum::body::Body::from_stream(futures::stream::pending::<std::io::Result<Vec<u8>>>())
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/never", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let server = downloading(url, [0; 4]).await;
    let ask = async |source| {
        server.json("POST", "/weights/vgg16/download", json!({ "source": source })).await
    };
    ask("elsewhere").await.problem(422, "invalid_value");
    assert_eq!(ask("torchvision").await.status, 202);
    ask("keras").await.problem(409, "downloading");
    assert_eq!(server.get("/weights/vgg16").await.ok()["state"], "downloading");
    let partial = server.folder.path().join("weights/torchvision.partial");
    let begun = async {
        while !partial.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    let request = axum::http::Request::put("/weights/vgg16");
    let supplied = request.body(vgg16_weights("torchvision_zip.pth").into()).unwrap();
    assert_eq!(server.send(supplied).await.ok()["state"], "ready");
    assert_eq!(server.get("/weights/vgg16").await.ok()["source"], "torchvision");
    assert!(!partial.exists(), "the rest is no longer needed");
    // Another may begin: the first is over.
    assert_eq!(ask("keras").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_none_change_nothing() {
    let server = Server::start().await;
    let put = async |body: Vec<u8>| {
        let request = axum::http::Request::put("/weights/vgg16");
        server.send(request.body(body.into()).unwrap()).await
    };
    put(Vec::new()).await.problem(422, "weights_unusable");
    put(b"not weights".to_vec()).await.problem(422, "weights_unusable");
    let whole = vgg16_weights("torchvision_zip.pth");
    put(whole[..whole.len() / 2].to_vec()).await.problem(422, "weights_unusable");
    assert_eq!(server.get("/weights/vgg16").await.ok()["state"], "absent");
    assert_eq!(put(whole).await.ok()["state"], "ready");
    put(b"not weights".to_vec()).await.problem(422, "weights_unusable");
    assert_eq!(server.get("/weights/vgg16").await.ok()["state"], "ready");
}
