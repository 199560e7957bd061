//! Single images on their way into a dataset over the API.

use std::collections::HashSet;

use crate::common::{IMAGES, Server, form, huge_png, photo};
use axum::{
    body::Body,
    http::{Request, header},
    response::IntoResponse as _,
};
use pawprint::http::problem::Problem;
use serde_json::json;

#[tokio::test]
async fn one_bad_file_never_fails_the_others() {
    let server = Server::with(|config| config.max_image_bytes = 100_000).await;
    server.pets().await;
    let mut cut = photo(1);
    cut.truncate(cut.len() / 2);
    let files = [
        ("cat.0.jpg", photo(0)),
        ("cat.1.jpg", cut),
        ("cat.2.jpg", Vec::new()),
        ("cat.3.jpg", b"I am a cat, honestly".to_vec()),
        ("cat.4.png", huge_png(50_000, 50_000)),
        ("cat.5.jpg", vec![0xFF; 100_001]),
        ("IMG_6.jpg", photo(6)),
        ("bird/7.jpg", photo(7)),
        ("../cat.8.jpg", photo(8)),
        ("/cat.9.jpg", photo(9)),
        (".DS_Store", photo(10)),
        ("Pets/dog.11.JPG", photo(11)),
    ];
    let report = server.upload(IMAGES, &files).await.ok();
    assert_eq!((&report["added"], &report["duplicates"]), (&json!(2), &json!(0)), "{report:#}");
    let rejected = report["rejected"].as_array().unwrap();
    let rejected: Vec<_> = rejected
        .iter()
        .map(|one| (one["file"].as_str().unwrap(), one["code"].as_str().unwrap()))
        .collect();
    let expected = [
        ("cat.1.jpg", "corrupt_image"),
        ("cat.2.jpg", "empty_file"),
        ("cat.3.jpg", "unsupported_type"),
        ("cat.4.png", "too_many_pixels"),
        ("cat.5.jpg", "too_large"),
        ("IMG_6.jpg", "unlabelled"),
        ("bird/7.jpg", "unknown_label"),
        ("../cat.8.jpg", "unsafe_path"),
        ("cat.9.jpg", "unsafe_path"),
    ];
    assert_eq!(rejected, expected);
    assert_eq!(report["rejected_total"], 9);
    assert_eq!(report["ignored"], json!({ "count": 1, "examples": [".DS_Store"] }));
    assert_eq!((server.leftovers(), server.blobs()), (0, 2));
    let images = server.listed("").await;
    assert_eq!(images[1]["file_name"], "Pets/dog.11.JPG");
    assert_eq!(images[1]["label"], "dog");
    assert_eq!(images[1]["media_type"], "image/jpeg");
    assert_eq!((&images[1]["width"], &images[1]["height"]), (&json!(42), &json!(33)));
}

#[tokio::test]
async fn the_same_bytes_enter_a_dataset_once() {
    let server = Server::start().await;
    server.pets().await;
    let path = format!("{IMAGES}?split=train&label=cat");
    let files = [("a.jpg", photo(0)), ("b.jpg", photo(0)), ("c.jpg", photo(1))];
    let report = server.upload(&path, &files).await.ok();
    assert_eq!((&report["added"], &report["duplicates"]), (&json!(2), &json!(1)));
    let before = server.version().await;

    // Under another split they stay where they are.
    let path = format!("{IMAGES}?split=test&label=cat");
    let report = server.upload(&path, &[("d.jpg", photo(1))]).await.ok();
    assert_eq!((&report["added"], &report["duplicates"]), (&json!(0), &json!(1)));
    assert_eq!(server.listed("&split=train").await.len(), 2);

    // Under another label they are rejected, also within one upload.
    let report = server.upload(&format!("{IMAGES}?label=dog"), &[("e.jpg", photo(1))]).await.ok();
    assert_eq!(report["rejected"][0]["code"], "label_conflict");
    assert!(report["rejected"][0]["detail"].as_str().unwrap().contains("`cat`"));
    let files = [("cat.2.jpg", photo(2)), ("dog.2.jpg", photo(2))];
    let report = server.upload(&format!("{IMAGES}?split=test"), &files).await.ok();
    assert_eq!(
        (&report["added"], &report["rejected"][0]["file"]),
        (&json!(1), &json!("dog.2.jpg"))
    );
    assert_ne!(server.version().await, before);
}

#[tokio::test]
async fn an_image_without_a_split_gets_a_stable_one_by_its_content() {
    let server = Server::start().await;
    server.pets().await;
    let files: Vec<_> = (0..40).map(|n| ("cat.0.jpg", photo(n))).collect();
    server.upload(&format!("{IMAGES}?split=auto"), &files).await.ok();
    let splits: Vec<_> =
        server.listed("").await.iter().map(|image| image["split"].clone()).collect();
    assert_eq!(splits.iter().collect::<HashSet<_>>().len(), 3);
    // A name of a split in the path counts, and a split in the query counts more.
    server.upload(IMAGES, &[("val/cat/x.jpg", photo(100))]).await.ok();
    server.upload(&format!("{IMAGES}?split=test"), &[("val/cat/y.jpg", photo(101))]).await.ok();
    let images = server.listed("").await;
    assert_eq!(images[40]["split"], "validation");
    assert_eq!(images[41]["split"], "test");

    let other = Server::start().await;
    other.pets().await;
    other.upload(IMAGES, &files).await.ok();
    let again: Vec<_> = other.listed("").await.iter().map(|image| image["split"].clone()).collect();
    assert_eq!(splits, again);
}

#[tokio::test]
async fn what_makes_no_sense_in_an_upload_is_named() {
    let server = Server::start().await;
    server.pets().await;
    let file = [("cat.0.jpg", photo(0))];
    let problem =
        server.upload(&format!("{IMAGES}?split=dev"), &file).await.problem(422, "invalid_value");
    assert!(problem["detail"].as_str().unwrap().contains("`dev`"));
    let problem =
        server.upload(&format!("{IMAGES}?label=bird"), &file).await.problem(422, "unknown_label");
    assert!(problem["detail"].as_str().unwrap().contains("`bird`"));
    server.upload(&format!("{IMAGES}?lable=cat"), &file).await.problem(422, "invalid_value");
    server.upload("/datasets/nothing/images", &file).await.problem(404, "not_found");
    server.upload(IMAGES, &[]).await.problem(422, "no_files");
    server.post(IMAGES, photo(0)).await.problem(415, "not_multipart");
    let boundless = Request::post(IMAGES).header(header::CONTENT_TYPE, "multipart/form-data; x=y");
    server.send(boundless.body(Body::from("x")).unwrap()).await.problem(400, "malformed");
    assert_eq!(server.listed("").await.len(), 0);
}

/// A form whose body is `chunks`, one after the other.
fn streamed(chunks: Vec<Result<Vec<u8>, std::io::Error>>) -> Request<Body> {
    let body = Body::from_stream(futures::stream::iter(chunks));
    let request =
        Request::post(IMAGES).header(header::CONTENT_TYPE, "multipart/form-data; boundary=a-form");
    request.body(body).unwrap()
}

#[tokio::test]
async fn a_client_that_leaves_midway_leaves_nothing() {
    let server = Server::start().await;
    server.pets().await;
    let files: Vec<_> = (0..20).map(|n| ("cat.0.jpg", photo(n))).collect();
    let body = form(&files);
    let half = body[..body.len() / 2].to_vec();
    let gone = std::io::Error::other("connection reset");
    server.send(streamed(vec![Ok(half.clone()), Err(gone)])).await.problem(400, "malformed");
    server.send(streamed(vec![Ok(half)])).await.problem(400, "malformed");
    // The same with a request that is dropped while it waits for more.
    let stalled = futures::StreamExt::chain(
        futures::stream::iter([Ok::<_, std::io::Error>(body[..body.len() - 9].to_vec())]),
        futures::stream::pending(),
    );
    let request = Request::post(IMAGES)
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=a-form")
        .body(Body::from_stream(stalled))
        .unwrap();
    tokio::select! {
        _ = server.send(request) => unreachable!("the body has no end"),
        () = until(|| server.leftovers() >= 19) => {}
    }
    // Checks under way end on their own threads.
    until(|| server.leftovers() == 0).await;
    assert_eq!((server.blobs(), server.listed("").await.len()), (0, 0));
}

#[tokio::test]
async fn a_dataset_that_is_deleted_during_an_upload_is_gone() {
    let server = Server::start().await;
    server.pets().await;
    let body = form(&[("cat.0.jpg", photo(0)), ("cat.1.jpg", photo(1))]);
    let (head, tail) = body.split_at(body.len() - 20);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(2);
    let request = Request::post(IMAGES)
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=a-form")
        .body(Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver)))
        .unwrap();
    let deletion = async {
        sender.send(Ok(head.to_vec())).await.unwrap();
        until(|| server.leftovers() == 2).await;
        assert_eq!(server.delete("/datasets/pets").await.status, 204);
        sender.send(Ok(tail.to_vec())).await.unwrap();
        drop(sender);
    };
    let (answer, ()) = tokio::join!(server.send(request), deletion);
    answer.problem(404, "not_found");
    server.app.datasets.sweep(HashSet::new()).await.unwrap();
    assert_eq!((server.blobs(), server.leftovers()), (0, 0));
}

#[tokio::test]
async fn an_error_of_a_full_disk_is_answered_with_507() {
    let source = std::io::ErrorKind::StorageFull.into();
    let error = pawprint::datasets::Error::Disk { path: "blobs".into(), source };
    let response = Problem::from(error).into_response();
    assert_eq!(response.status(), 507);
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_form_is_bounded_in_every_direction() {
    let server = Server::with(|config| {
        config.max_archive_bytes = 3 << 20;
        config.max_archive_entries = 3;
    })
    .await;
    server.pets().await;
    let head =
        b"--a-form\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"".to_vec();
    let endless = std::iter::repeat_with(|| Ok(vec![b'x'; 1 << 16])).take(40);
    let chunks = std::iter::once(Ok(head)).chain(endless).collect();
    server.send(streamed(chunks)).await.problem(400, "malformed");
    let large = [("cat.0.jpg", vec![0; 4 << 20])];
    server.upload(IMAGES, &large).await.problem(413, "too_large");
    let many: Vec<_> = (0..4).map(|n| ("cat.0.jpg", photo(n))).collect();
    server.upload(IMAGES, &many).await.problem(413, "too_many_files");
    // Checks under way end on their own threads.
    until(|| server.leftovers() == 0).await;
}

#[tokio::test]
async fn the_same_photos_may_come_from_many_sides_at_once() {
    let server = Server::start().await;
    server.pets().await;
    let files: Vec<_> = (0..30).map(|n| ("cat.0.jpg", photo(n))).collect();
    let reports = futures::future::join_all((0..6).map(|_| server.upload(IMAGES, &files))).await;
    let sum = |member: &str| -> u64 {
        reports.iter().map(|report| report.ok()[member].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("added"), sum("duplicates"), sum("rejected_total")), (30, 150, 0));
    assert_eq!((server.blobs(), server.leftovers()), (30, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_never_takes_what_is_being_uploaded() {
    let server = Server::start().await;
    server.pets().await;
    let uploads = async {
        for round in 0..15_u32 {
            let files: Vec<_> = (0..4).map(|n| ("cat.0.jpg", photo(round * 4 + n))).collect();
            server.upload(IMAGES, &files).await.ok();
            // What was deleted comes back at once: the sweep may have its eye on it.
            let image = server.listed("").await.pop().unwrap()["id"].clone();
            server.delete(&format!("{IMAGES}/{}", image.as_str().unwrap())).await;
            server.upload(IMAGES, &files).await.ok();
        }
    };
    let sweeps = async {
        loop {
            server.app.datasets.sweep(HashSet::new()).await.unwrap();
        }
    };
    tokio::select! { () = uploads => {}, () = sweeps => {} }
    let images = server.listed("").await;
    assert_eq!(images.len(), 60);
    for image in images {
        let answer = server.get(&format!("/images/{}", image["id"].as_str().unwrap())).await;
        assert_eq!(answer.status, 200);
    }
}
