//! Datasets and the images in them over the API.

use std::collections::HashSet;

use crate::common::{IMAGES, Server, encode, photo, picture};
use axum::{
    body::Body,
    http::{Request, header},
};
use image::{ImageFormat, imageops::FilterType};
use serde_json::{Value, json};

#[tokio::test]
async fn a_dataset_is_made_and_found_by_id_and_by_name() {
    let server = Server::start().await;
    let new = json!({ "name": "pets", "classes": ["cat", "dog"] });
    let answer = server.json("POST", "/datasets", new).await;
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
    let image = server.listed("").await[0].clone();
    let path = format!("{IMAGES}/{}", image["id"].as_str().unwrap());
    let before = server.version().await;
    assert_ne!(before, empty);
    assert_eq!(
        before,
        json!(server.app.datasets.manifest("pets").await.unwrap().version.to_string())
    );

    let changed = server.json("PATCH", &path, json!({ "label": "Dog" })).await.ok();
    assert_eq!((&changed["label"], &changed["split"]), (&json!("dog"), &json!("train")));
    assert_ne!(server.version().await, before);
    server.json("PATCH", &path, json!({ "label": "cat", "split": "test" })).await.ok();
    assert_ne!(server.version().await, before);
    server.json("PATCH", &path, json!({ "split": "train" })).await.ok();
    assert_eq!(server.version().await, before);

    assert_eq!(server.delete(&path).await.status, 204);
    assert_ne!(server.version().await, before);
    server.delete(&path).await.problem(404, "not_found");
    server.upload(&format!("{IMAGES}?split=train"), &[("cat.0.jpg", photo(0))]).await.ok();
    assert_eq!(server.version().await, before);
}

#[tokio::test]
async fn a_change_that_makes_no_sense_is_named() {
    let server = Server::start().await;
    server.pets().await;
    server.json("POST", "/datasets", json!({ "name": "other" })).await.ok();
    server.upload(IMAGES, &[("cat.0.jpg", photo(0))]).await.ok();
    let id = server.listed("").await[0]["id"].as_str().unwrap().to_owned();
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
    assert_eq!(names(server.listed("&split=test").await), ["test/cat/2", "test/dog/3"]);
    assert_eq!(
        names(server.listed("&label=cat&split=train").await),
        ["train/cat/0", "train/cat/4"]
    );
    assert_eq!(names(server.listed("&label=DOG").await), ["train/dog/1", "test/dog/3"]);
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
    let image = server.listed("").await[0].clone();
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
    let image = server.listed("").await[0].clone();
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
    let path = format!("/images/{}/thumbnail", server.listed("").await[0]["id"].as_str().unwrap());
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
