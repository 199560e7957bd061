//! Datasets and their images over the API.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]

mod common;

use std::collections::HashSet;

use axum::{
    body::Body,
    http::{Request, header},
    response::IntoResponse as _,
};
use common::{Server, encode, form, huge_png, photo, picture};
use image::{ImageFormat, imageops::FilterType};
use pawprint::http::problem::Problem;
use serde_json::{Value, json};

const IMAGES: &str = "/datasets/pets/images";

async fn listed(server: &Server, query: &str) -> Vec<Value> {
    let page = server.get(&format!("{IMAGES}?limit=500{query}")).await.ok();
    page["items"].as_array().unwrap().clone()
}

async fn version(server: &Server) -> Value {
    server.get("/datasets/pets").await.ok()["version"].clone()
}

#[tokio::test]
async fn a_dataset_is_made_and_found_by_id_and_by_name() {
    let server = Server::start().await;
    let answer = server.json("POST", "/datasets", json!({ "name": "pets" })).await;
    assert_eq!(answer.status, 201);
    let made = answer.ok();
    let location = answer.headers[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(server.get(&location).await.ok(), made);
    assert_eq!(server.get("/datasets/pets").await.ok(), made);
    assert_eq!(made["classes"], json!(["cat", "dog"]));
    assert_eq!(made["counts"]["validation"], json!({ "cat": 0, "dog": 0 }));
    assert_eq!((&made["images"], &made["bytes"]), (&json!(0), &json!(0)));
    assert_eq!(made["version"].as_str().unwrap().len(), 64);

    server.json("POST", "/datasets", json!({ "name": "pets" })).await.problem(409, "name_taken");
    for body in [
        json!({ "name": "no spaces" }),
        json!({ "name": "x", "classes": ["one"] }),
        json!({ "name": "x", "classes": ["a", "A"] }),
        json!({ "name": "x", "class": ["a", "b"] }),
        json!({}),
    ] {
        server.json("POST", "/datasets", body).await.problem(422, "invalid_value");
    }
    server.get("/datasets/nothing").await.problem(404, "not_found");
    server.get("/datasets/0197a1b2-0000-7000-8000-000000000000").await.problem(404, "not_found");
}

#[tokio::test]
async fn datasets_are_listed_page_by_page() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.json("POST", "/datasets", json!({ "name": name })).await.ok();
    }
    let first = server.get("/datasets?limit=2").await.ok();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server.get(&format!("/datasets?limit=2&cursor={cursor}")).await.ok();
    assert_eq!(second["items"][0]["name"], "c");
    assert_eq!(second["next_cursor"], Value::Null);
    for query in ["limit=0", "limit=501", "limit=x", "cursor=x"] {
        server.get(&format!("/datasets?{query}")).await.problem(422, "invalid_value");
    }
}

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
        ("Dog/11.JPG", photo(11)),
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
    assert_eq!((server.leftovers(), server.blobs()), (0, 2));
    let images = listed(&server, "").await;
    assert_eq!(images[1]["file_name"], "Dog/11.JPG");
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
    let before = version(&server).await;

    // Under another split they stay where they are.
    let path = format!("{IMAGES}?split=test&label=cat");
    let report = server.upload(&path, &[("d.jpg", photo(1))]).await.ok();
    assert_eq!((&report["added"], &report["duplicates"]), (&json!(0), &json!(1)));
    assert_eq!(listed(&server, "&split=train").await.len(), 2);

    // Under another label they are turned away, also within one upload.
    let report = server.upload(&format!("{IMAGES}?label=dog"), &[("e.jpg", photo(1))]).await.ok();
    assert_eq!(report["rejected"][0]["code"], "label_conflict");
    assert!(report["rejected"][0]["detail"].as_str().unwrap().contains("`cat`"));
    let files = [("cat.2.jpg", photo(2)), ("dog.2.jpg", photo(2))];
    let report = server.upload(&format!("{IMAGES}?split=test"), &files).await.ok();
    assert_eq!(
        (&report["added"], &report["rejected"][0]["file"]),
        (&json!(1), &json!("dog.2.jpg"))
    );
    assert_ne!(version(&server).await, before);
}

#[tokio::test]
async fn an_image_without_a_split_gets_a_stable_one_by_its_content() {
    let server = Server::start().await;
    server.pets().await;
    let files: Vec<_> = (0..40).map(|n| ("cat.0.jpg", photo(n))).collect();
    server.upload(&format!("{IMAGES}?split=auto"), &files).await.ok();
    let splits: Vec<_> =
        listed(&server, "").await.iter().map(|image| image["split"].clone()).collect();
    assert_eq!(splits.iter().collect::<HashSet<_>>().len(), 3);
    // A name of a split in the path counts, and a split in the query counts more.
    server.upload(IMAGES, &[("val/cat/x.jpg", photo(100))]).await.ok();
    server.upload(&format!("{IMAGES}?split=test"), &[("val/cat/y.jpg", photo(101))]).await.ok();
    let images = listed(&server, "").await;
    assert_eq!(images[40]["split"], "validation");
    assert_eq!(images[41]["split"], "test");

    let other = Server::start().await;
    other.pets().await;
    other.upload(IMAGES, &files).await.ok();
    let again: Vec<_> =
        listed(&other, "").await.iter().map(|image| image["split"].clone()).collect();
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
    assert_eq!(listed(&server, "").await.len(), 0);
}

/// A form whose body is `chunks`, one after the other.
fn streamed(chunks: Vec<Result<Vec<u8>, std::io::Error>>) -> Request<Body> {
    let body = Body::from_stream(futures::stream::iter(chunks));
    let request =
        Request::post(IMAGES).header(header::CONTENT_TYPE, "multipart/form-data; boundary=XXX");
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
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=XXX")
        .body(Body::from_stream(stalled))
        .unwrap();
    tokio::select! {
        _ = server.send(request) => unreachable!("the body has no end"),
        () = until(|| server.leftovers() >= 19) => {}
    }
    // Checks under way end on their own threads.
    until(|| server.leftovers() == 0).await;
    assert_eq!((server.blobs(), listed(&server, "").await.len()), (0, 0));
}

#[tokio::test]
async fn a_dataset_that_is_deleted_during_an_upload_is_gone() {
    let server = Server::start().await;
    server.pets().await;
    let body = form(&[("cat.0.jpg", photo(0)), ("cat.1.jpg", photo(1))]);
    let (head, tail) = body.split_at(body.len() - 20);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(2);
    let request = Request::post(IMAGES)
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=XXX")
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
async fn a_full_disk_is_said_to_be_full() {
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
    let head = b"--XXX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"".to_vec();
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
            let image = listed(&server, "").await[0]["id"].clone();
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
    for image in listed(&server, "").await {
        let answer = server.get(&format!("/images/{}", image["id"].as_str().unwrap())).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn a_deleted_dataset_takes_its_bytes_along_at_the_next_sweep() {
    let server = Server::start().await;
    let id = server.pets().await["id"].as_str().unwrap().to_owned();
    server.json("POST", "/datasets", json!({ "name": "other" })).await.ok();
    let files: Vec<_> = (0..4).map(|n| ("cat.0.jpg", photo(n))).collect();
    server.upload(IMAGES, &files).await.ok();
    server.upload("/datasets/other/images", &files[..1]).await.ok();
    let sample = server.app.datasets.manifest("pets").await.unwrap().samples;
    let other = server.app.datasets.manifest("other").await.unwrap().samples[0].sha256;
    let kept = sample.iter().map(|sample| sample.sha256).find(|digest| *digest != other).unwrap();

    let mut transaction = server.app.storage.write().await.unwrap();
    sqlx::query(
        "INSERT INTO jobs (id, name, recipe, dataset_id, dataset, dataset_version, params, status, created_at)
         VALUES ('j', 'run-7', 'scratch_cnn', ?, 'pets', '', '{}', 'running', '')",
    )
    .bind(&id)
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    let problem = server.delete("/datasets/pets").await.problem(409, "dataset_in_use");
    assert!(problem["detail"].as_str().unwrap().contains("run-7"));
    let mut transaction = server.app.storage.write().await.unwrap();
    sqlx::query("UPDATE jobs SET status = 'succeeded'").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();

    assert_eq!(server.delete("/datasets/pets").await.status, 204);
    server.get("/datasets/pets").await.problem(404, "not_found");
    assert_eq!(server.blobs(), 4);
    let swept = server.app.datasets.sweep(HashSet::from([kept])).await.unwrap();
    assert_eq!((swept.blobs, server.blobs()), (2, 2));
    assert!(server.app.datasets.blobs().read(&kept).is_ok());
    assert!(server.app.datasets.blobs().read(&other).is_ok());
    server.delete("/datasets/pets").await.problem(404, "not_found");
}

#[tokio::test]
async fn the_same_content_has_the_same_version() {
    let server = Server::start().await;
    let empty = server.pets().await["version"].clone();
    server
        .upload(
            &format!("{IMAGES}?split=train"),
            &[("cat.0.jpg", photo(0)), ("dog.1.jpg", photo(1))],
        )
        .await
        .ok();
    let image = listed(&server, "").await[0].clone();
    let path = format!("{IMAGES}/{}", image["id"].as_str().unwrap());
    let before = version(&server).await;
    assert_ne!(before, empty);
    assert_eq!(
        before,
        json!(server.app.datasets.manifest("pets").await.unwrap().version.to_string())
    );

    let changed = server.json("PATCH", &path, json!({ "label": "Dog" })).await.ok();
    assert_eq!((&changed["label"], &changed["split"]), (&json!("dog"), &json!("train")));
    assert_ne!(version(&server).await, before);
    server.json("PATCH", &path, json!({ "label": "cat", "split": "test" })).await.ok();
    assert_ne!(version(&server).await, before);
    server.json("PATCH", &path, json!({ "split": "train" })).await.ok();
    assert_eq!(version(&server).await, before);

    assert_eq!(server.delete(&path).await.status, 204);
    assert_ne!(version(&server).await, before);
    server.delete(&path).await.problem(404, "not_found");
    server.upload(&format!("{IMAGES}?split=train"), &[("cat.0.jpg", photo(0))]).await.ok();
    assert_eq!(version(&server).await, before);
}

#[tokio::test]
async fn a_change_that_makes_no_sense_is_named() {
    let server = Server::start().await;
    server.pets().await;
    server.json("POST", "/datasets", json!({ "name": "other" })).await.ok();
    server.upload(IMAGES, &[("cat.0.jpg", photo(0))]).await.ok();
    let id = listed(&server, "").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("{IMAGES}/{id}");
    server.json("PATCH", &path, json!({ "label": "bird" })).await.problem(422, "unknown_label");
    server.json("PATCH", &path, json!({ "split": "dev" })).await.problem(422, "invalid_value");
    server.json("PATCH", &path, json!({})).await.problem(422, "invalid_value");
    let elsewhere = format!("/datasets/other/images/{id}");
    server.json("PATCH", &elsewhere, json!({ "label": "dog" })).await.problem(404, "not_found");
    server.delete(&elsewhere).await.problem(404, "not_found");
    server.get("/images/no-id").await.problem(404, "not_found");
}

#[tokio::test]
async fn images_are_listed_by_split_and_class() {
    let server = Server::start().await;
    server.pets().await;
    let names = ["train/cat/0", "train/dog/1", "test/cat/2", "test/dog/3", "train/cat/4"];
    let files: Vec<_> = names.iter().zip(0..).map(|(name, n)| (*name, photo(n))).collect();
    server.upload(IMAGES, &files).await.ok();
    let names = |images: Vec<Value>| -> Vec<String> {
        images.iter().map(|image| image["file_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(listed(&server, "&split=test").await), ["test/cat/2", "test/dog/3"]);
    assert_eq!(
        names(listed(&server, "&label=cat&split=train").await),
        ["train/cat/0", "train/cat/4"]
    );
    assert_eq!(names(listed(&server, "&label=DOG").await), ["train/dog/1", "test/dog/3"]);
    let page = server.get(&format!("{IMAGES}?label=cat&limit=2")).await.ok();
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = server.get(&format!("{IMAGES}?label=cat&limit=2&cursor={cursor}")).await.ok();
    assert_eq!(page["items"][0]["file_name"], "train/cat/4");
    server.get(&format!("{IMAGES}?label=bird")).await.problem(422, "unknown_label");
    server.get(&format!("{IMAGES}?split=dev")).await.problem(422, "invalid_value");
    let dataset = server.get("/datasets/pets").await.ok();
    assert_eq!(dataset["counts"]["train"], json!({ "cat": 2, "dog": 1 }));
    assert_eq!(dataset["images"], 5);
}

#[tokio::test]
async fn the_original_bytes_are_served_and_cached() {
    let server = Server::start().await;
    server.pets().await;
    server.upload(IMAGES, &[("cat.0.jpg", encode(picture(0), ImageFormat::Png))]).await.ok();
    let image = listed(&server, "").await[0].clone();
    let path = format!("/images/{}", image["id"].as_str().unwrap());
    let answer = server.get(&path).await;
    assert_eq!(answer.body, encode(picture(0), ImageFormat::Png));
    assert_eq!(answer.headers[header::CONTENT_TYPE], "image/png");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "private, max-age=31536000, immutable");
    assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let tag = answer.headers[header::ETAG].clone();
    assert_eq!(tag, format!("\"{}\"", image["sha256"].as_str().unwrap()));
    for path in [path.clone(), format!("{path}/thumbnail")] {
        let tag = server.get(&path).await.headers[header::ETAG].clone();
        let request = Request::get(&path).header(header::IF_NONE_MATCH, tag);
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0));
    }
}

#[tokio::test]
async fn a_damaged_image_says_so_and_sending_it_again_repairs_it() {
    let server = Server::start().await;
    server.pets().await;
    server.upload(IMAGES, &[("cat.0.jpg", photo(0))]).await.ok();
    let image = listed(&server, "").await[0].clone();
    let path = format!("/images/{}", image["id"].as_str().unwrap());
    let digest = image["sha256"].as_str().unwrap().parse().unwrap();
    let blob = server.app.datasets.blobs().path(&digest);
    for damage in
        [|path| std::fs::write(path, "x").unwrap(), |path| std::fs::remove_file(path).unwrap()]
    {
        damage(blob.clone());
        server.get(&path).await.problem(500, "image_damaged");
        server.get(&format!("{path}/thumbnail")).await.problem(500, "image_damaged");
        let report = server.upload(IMAGES, &[("cat.0.jpg", photo(0))]).await.ok();
        assert_eq!(report["duplicates"], 1);
        assert_eq!(server.get(&path).await.body, photo(0));
    }
}

#[tokio::test]
async fn a_thumbnail_is_a_small_jpeg() {
    let server = Server::start().await;
    server.pets().await;
    let wide = image::imageops::resize(&picture(0), 400, 100, FilterType::Nearest);
    server.upload(IMAGES, &[("cat.0.png", encode(wide, ImageFormat::Png))]).await.ok();
    let path =
        format!("/images/{}/thumbnail", listed(&server, "").await[0]["id"].as_str().unwrap());
    for (query, width, height) in [("", 160, 40), ("?size=16", 16, 4), ("?size=1024", 400, 100)] {
        let answer = server.get(&format!("{path}{query}")).await;
        assert_eq!(answer.headers[header::CONTENT_TYPE], "image/jpeg");
        let small = image::load_from_memory_with_format(&answer.body, ImageFormat::Jpeg).unwrap();
        assert_eq!((small.width(), small.height()), (width, height));
    }
    for size in ["15", "1025", "x"] {
        server.get(&format!("{path}?size={size}")).await.problem(422, "invalid_value");
    }
}

#[tokio::test]
async fn statistics_show_sizes_formats_and_leaks_between_splits() {
    let server = Server::start().await;
    server.pets().await;
    let empty = server.get("/datasets/pets/statistics").await.ok();
    assert_eq!((&empty["images"], &empty["width"]), (&json!(0), &Value::Null));
    let twice = picture(1);
    let larger = image::imageops::resize(&twice, 82, 62, FilterType::Triangle);
    let files = [
        ("train/cat/0.jpg", photo(0)),
        ("train/cat/1.jpg", encode(twice.clone(), ImageFormat::Png)),
        ("test/cat/1.jpg", encode(larger, ImageFormat::Png)),
        ("train/dog/2.jpg", photo(2)),
        ("train/dog/3.bmp", encode(picture(2), ImageFormat::Bmp)),
    ];
    server.upload(IMAGES, &files).await.ok();
    let statistics = server.get("/datasets/pets/statistics").await.ok();
    assert_eq!(statistics["counts"]["train"], json!({ "cat": 2, "dog": 2 }));
    assert_eq!(statistics["formats"], json!({ "image/bmp": 1, "image/jpeg": 2, "image/png": 2 }));
    assert_eq!(
        (&statistics["width"]["min"], &statistics["width"]["max"]),
        (&json!(40), &json!(82))
    );
    let counts = statistics["width"]["counts"].as_array().unwrap();
    assert_eq!(counts.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 5);
    assert_eq!(statistics["width"]["edges"].as_array().unwrap().len(), counts.len() + 1);
    let leaks = &statistics["cross_split_duplicates"];
    assert_eq!(leaks["count"], 1, "{leaks:#}");
    let names: Vec<_> = leaks["groups"][0]["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| &image["file_name"])
        .collect();
    assert_eq!(names, ["train/cat/1.jpg", "test/cat/1.jpg"]);
    server.get("/datasets/nothing/statistics").await.problem(404, "not_found");
}
