//! `pawprint import` against a server that takes uploads apart.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::common::{Ran, pawprint, problem, run, serve};

/// What the fake server was sent, and what it answers.
#[derive(Default)]
struct Seen {
    exists: bool,
    answer: Value,
    created: Option<Value>,
    archive: Vec<u8>,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
}

type Shared = Arc<Mutex<Seen>>;

fn dataset() -> Json<Value> {
    Json(json!({
        "id": "1", "name": "pets", "classes": ["cat", "dog"], "version": "00", "bytes": 9, "created_at": "2026-01-01T00:00:00Z",
        "counts": { "train": { "cat": 1, "dog": 0 }, "validation": { "cat": 1, "dog": 1 } },
    }))
}

async fn show(State(seen): State<Shared>) -> Response {
    if seen.lock().unwrap().exists {
        dataset().into_response()
    } else {
        problem(404, "not_found", "there is no dataset `pets`")
    }
}

async fn create(
    State(seen): State<Shared>,
    Json(body): Json<Value>,
) -> impl axum::response::IntoResponse {
    let mut seen = seen.lock().unwrap();
    seen.created = Some(body);
    seen.exists = true;
    (StatusCode::CREATED, dataset())
}

async fn take(
    State(seen): State<Shared>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    let mut seen = seen.lock().unwrap();
    seen.archive = body.to_vec();
    seen.query = query;
    seen.headers = headers;
    Json(seen.answer.clone())
}

fn router(seen: &Shared) -> Router {
    Router::new()
        .route("/datasets", post(create))
        .route("/datasets/pets", get(show))
        .route("/datasets/pets/archive", post(take))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(seen))
}

fn report(added: u64, duplicates: u64, rejected: &[&str]) -> Value {
    let files: Vec<_> = rejected
        .iter()
        .map(|file| json!({ "file": file, "code": "invalid_image", "detail": "it can't be decoded" }))
        .collect();
    json!({ "added": added, "duplicates": duplicates, "rejected": files, "rejected_total": rejected.len() })
}

/// A server with that answer, and what it will have seen.
async fn server(exists: bool, answer: Value) -> (String, Shared) {
    let seen = Shared::new(Mutex::new(Seen { exists, answer, ..Seen::default() }));
    (serve(router(&seen)).await, seen)
}

async fn import(url: &str, source: &Path, more: &[&str]) -> Ran {
    let source = source.to_str().unwrap();
    run(pawprint(url, &[&["import", source, "--dataset", "pets"], more].concat())).await
}

fn photos(files: &[(&str, usize)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, size) in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; *size]).unwrap();
    }
    folder
}

fn entries(tar: &[u8]) -> Vec<(String, usize)> {
    let mut tar = tar::Archive::new(tar);
    tar.entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (name, content.len())
        })
        .collect()
}

#[tokio::test]
async fn a_folder_arrives_as_a_sorted_tar_in_a_dataset_that_is_made_for_it() {
    let (url, seen) = server(false, report(3, 0, &[])).await;
    let folder = photos(&[
        ("dog/2.jpg", 700_000),
        ("cat/b.PNG", 5),
        ("cat/a.jpeg", 0),
        ("notes.txt", 9_000),
        (".x.jpg", 1),
    ]);
    let ran = import(&url, folder.path(), &["--split", "train", "--classes", "cat,dog"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "pets: 3 added, 0 duplicates, 0 rejected\n");
    let lacks = "pets is not ready for training: `cat` has 1 training, 1 validation and no test images; `dog` has no training, 1 validation and no test images; add images of `cat`, `dog` (at least 3 per class), then reassign all images to splits automatically (70/15/15) with `pawprint datasets split pets`";
    assert!(ran.stderr.contains(lacks), "{}", ran.stderr);

    let seen = seen.lock().unwrap();
    assert_eq!(seen.created, Some(json!({ "name": "pets", "classes": ["cat", "dog"] })));
    assert_eq!(seen.query["split"], "train");
    assert_eq!(seen.headers["content-type"], "application/x-tar");
    // Of what is ignored the name, of what is no image the beginning.
    let expected = [
        (".x.jpg", 0),
        ("cat/a.jpeg", 0),
        ("cat/b.PNG", 5),
        ("dog/2.jpg", 700_000),
        ("notes.txt", 9_000),
    ];
    assert!(seen.archive.len() < 720_000);
    assert_eq!(entries(&seen.archive), expected.map(|(name, size)| (name.to_owned(), size)));
}

#[tokio::test]
async fn an_archive_is_sent_as_it_is() {
    let (url, seen) = server(true, report(1, 0, &[])).await;
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("photos.zip");
    let bytes: Vec<_> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(&archive, &bytes).unwrap();
    let ran = import(&url, &archive, &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let seen = seen.lock().unwrap();
    assert!(seen.archive == bytes);
    assert_eq!(seen.created, None);
    assert_eq!(seen.query["split"], "auto");
    assert_eq!(seen.headers["content-type"], "application/zip");
    assert_eq!(seen.headers["content-length"], bytes.len().to_string());
}

#[tokio::test]
async fn what_was_rejected_is_listed_with_its_reason() {
    let mut answer = report(1, 2, &["cat/a.jpg"]);
    answer["rejected_total"] = json!(70);
    let (url, _) = server(true, answer).await;
    let folder = photos(&[("cat/a.jpg", 1)]);
    symlink("nowhere", folder.path().join("cat/b.jpg")).unwrap();
    let ran = import(&url, folder.path(), &[]).await;
    assert!(
        ran.stderr.contains("symbolic links skipped: 1 (include them with --follow-links)"),
        "{}",
        ran.stderr
    );
    let ran = import(&url, folder.path(), &["--follow-links"]).await;
    assert_eq!(ran.code, Some(0));
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "pets: 1 added, 2 duplicates, 71 rejected");
    assert_eq!(lines[1], "  cat/a.jpg: it can't be decoded (invalid_image)");
    assert!(lines[2].starts_with("  cat/b.jpg: No such file"), "{}", lines[2]);
    assert_eq!(lines[3], "  and 69 more");

    let ran = import(&url, folder.path(), &["--follow-links", "--json"]).await;
    let documents = ran.documents();
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0]["dataset"], "pets");
    assert_eq!(documents[0]["rejected"][1]["code"], "unreadable");
    assert_eq!(documents[0]["not_images"], 0);
    assert_eq!(documents[0]["ignored"], json!({ "count": 0, "examples": [] }));
    assert_eq!(ran.stderr, "");
}

#[tokio::test]
async fn nothing_new_is_a_success_but_nothing_at_all_is_not() {
    let folder = photos(&[("cat/a.jpg", 1)]);
    for (answer, code) in [
        (report(0, 3, &[]), 0),
        (report(0, 0, &["cat/a.jpg"]), 1),
        (report(0, 2, &["cat/a.jpg"]), 1),
        (report(0, 0, &[]), 1),
    ] {
        let (url, _) = server(true, answer.clone()).await;
        let ran = import(&url, folder.path(), &[]).await;
        assert_eq!(ran.code, Some(code), "{answer}");
        assert_eq!(ran.stderr.contains("no images were added to pets"), code == 1);
    }
}

#[tokio::test]
async fn a_folder_without_images_makes_no_dataset() {
    let (url, seen) = server(false, Value::Null).await;
    let folder = photos(&[("notes.txt", 1)]);
    let ran = import(&url, folder.path(), &[]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("no images in"), "{}", ran.stderr);
    assert_eq!(seen.lock().unwrap().created, None);
    let ran = import(&url, &folder.path().join("missing"), &[]).await;
    assert_eq!(ran.code, Some(1));
}

#[tokio::test]
async fn other_classes_than_the_datasets_are_refused() {
    let (url, seen) = server(true, report(1, 0, &[])).await;
    let folder = photos(&[("cat/a.jpg", 1)]);
    let ran = import(&url, folder.path(), &["--classes", "rose,tulip"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("dataset pets already exists with classes cat, dog"),
        "{}",
        ran.stderr
    );
    assert!(seen.lock().unwrap().archive.is_empty());
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_shown() {
    let refuse = || async { problem(507, "disk_full", "the disk is full") };
    let router = Router::new()
        .route("/datasets/pets", get(|| async { dataset() }))
        .route("/datasets/pets/archive", post(refuse));
    let url = serve(router).await;
    let folder = photos(&[("cat/a.jpg", 20_000_000), ("cat/b.jpg", 20_000_000)]);
    let ran = import(&url, folder.path(), &[]).await;
    assert_eq!(
        (ran.code, ran.stderr.lines().last().unwrap()),
        (Some(1), "error: the disk is full")
    );
}
