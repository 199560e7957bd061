//! The photos of predictions, where they are kept.

use std::{collections::BTreeSet, path::PathBuf};

use axum::http::header;
use pawprint::{
    domain::dataset::Digest,
    storage::predictions::{self, Photo},
};
use serde_json::json;

use super::{
    common::{Server, data::execute, photo},
    keeping, listed, logging, predicted,
};

fn files(server: &Server) -> Vec<PathBuf> {
    let folder = walkdir::WalkDir::new(server.folder.path().join("predictions"));
    let files = folder.into_iter().flatten().filter(|entry| entry.file_type().is_file());
    files.map(|entry| entry.path().to_owned()).collect()
}

#[tokio::test]
async fn photos_are_kept_as_they_were_sent_each_once() {
    let server = keeping().await;
    let mut ids = Vec::new();
    for number in [1, 2, 1] {
        ids.push(predicted(&server, photo(number)).await);
    }
    for (id, number) in ids.iter().zip([1, 2, 1]) {
        let answer = server.get(&format!("/predictions/{id}/photo")).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &photo(number)));
        assert_eq!(answer.headers[header::CONTENT_TYPE], "image/jpeg");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "private, no-store");
    }
    assert_eq!(files(&server).len(), 2);
    // The other prediction of the same photo keeps it.
    for (id, left) in [(&ids[0], 2), (&ids[1], 1), (&ids[2], 0)] {
        assert_eq!(server.delete(&format!("/predictions/{id}")).await.status, 204);
        assert_eq!(files(&server).len(), left);
        server.get(&format!("/predictions/{id}/photo")).await.problem(404, "not_found");
        server.delete(&format!("/predictions/{id}")).await.problem(404, "not_found");
    }
    assert_eq!(server.leftovers(), 0);
}

#[tokio::test]
async fn a_photo_is_added_to_a_dataset_under_the_label_of_its_feedback() {
    let server = keeping().await;
    server.pets().await;
    let id = predicted(&server, photo(1)).await;
    let (image, feedback) =
        (format!("/predictions/{id}/image"), format!("/predictions/{id}/feedback"));
    // Without feedback, it is unlabelled.
    let report = server.json("POST", &image, json!({ "dataset": "pets" })).await.ok();
    assert_eq!((&report["added"], &report["duplicates"]), (&json!(1), &json!(0)));
    assert_eq!(server.get("/datasets/pets").await.ok()["unlabelled"], 1);
    server.json("POST", &feedback, json!({ "label": "dog" })).await.ok();
    let report =
        server.json("POST", &image, json!({ "dataset": "pets", "split": "train" })).await.ok();
    assert_eq!(report["added"], 1, "{report}");
    let [added] = server.listed("").await.try_into().unwrap();
    assert_eq!((&added["label"], &added["split"]), (&json!("dog"), &json!("train")));
    assert_eq!(added["file_name"], format!("{id}.jpg"));
    // Twice is a duplicate, another label a conflict, as with uploads.
    let report = server.json("POST", &image, json!({ "dataset": "pets" })).await.ok();
    assert_eq!((&report["added"], &report["duplicates"]), (&json!(0), &json!(1)));
    let report =
        server.json("POST", &image, json!({ "dataset": "pets", "label": "cat" })).await.ok();
    assert_eq!(report["rejected"][0]["code"], "label_conflict");
    let named = server.upload("/predict", &[("test/cat/7.jpg", photo(7))]).await.ok();
    let id = named["predictions"][0]["id"].as_str().unwrap().to_owned();
    let body = json!({ "dataset": "pets", "label": "dog", "split": "validation" });
    let image = format!("/predictions/{id}/image");
    assert_eq!(server.json("POST", &image, body).await.ok()["added"], 1);
    let [added] = server.listed("&split=validation").await.try_into().unwrap();
    assert_eq!((&added["file_name"], &added["label"]), (&json!("7.jpg"), &json!("dog")));

    server.json("POST", &image, json!({ "dataset": "nope" })).await.problem(404, "not_found");
    let body = json!({ "dataset": "pets", "label": "bird" });
    server.json("POST", &image, body).await.problem(422, "unknown_label");
}

#[tokio::test]
async fn without_photos_the_log_says_how_to_keep_them() {
    let server = logging().await;
    server.pets().await;
    let id = predicted(&server, photo(1)).await;
    let problem =
        server.get(&format!("/predictions/{id}/photo")).await.problem(404, "photo_not_kept");
    assert!(problem["detail"].as_str().unwrap().contains("--prediction-log-photos"));
    let path = format!("/predictions/{id}/image");
    server.json("POST", &path, json!({ "dataset": "pets" })).await.problem(404, "photo_not_kept");
}

async fn keeping_at_most(bytes: u64) -> Server {
    Server::with(|config| {
        config.prediction_log.prediction_log = true;
        config.prediction_log.prediction_log_photos = true;
        config.prediction_log.prediction_log_photo_bytes = bytes;
    })
    .await
}

#[tokio::test]
async fn the_oldest_photos_make_room_and_their_predictions_stay() {
    let sizes: Vec<u64> = (0..8).map(|number| photo(number).len() as u64).collect();
    let limit = sizes[5..].iter().sum::<u64>() + 10;
    let server = keeping_at_most(limit).await;
    for number in 0..8 {
        predicted(&server, photo(number)).await;
        // As many of the newest as there is room for.
        let newest = sizes[..=number as usize].iter().rev();
        let sums = newest.scan(0_u64, |sum, size| {
            *sum += size;
            Some(*sum)
        });
        let room = sums.take_while(|sum| *sum <= limit).count();
        let kept: Vec<_> =
            listed(&server, "").await.iter().map(|row| row["photo"] == true).collect();
        let expected: Vec<_> = (0..kept.len()).map(|age| age < room).collect();
        assert_eq!(kept, expected);
        let bytes: u64 = files(&server).iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes <= limit, "{bytes} {limit}");
    }
    assert_eq!(listed(&server, "").await.len(), 8);
    assert_eq!(files(&server).len(), 3);
    // One that is larger than all that may be kept.
    let large = super::common::encode(image::RgbImage::new(600, 600), image::ImageFormat::Bmp);
    predicted(&server, large).await;
    assert_eq!(listed(&server, "").await[0]["photo"], false);
    assert_eq!(server.app.journal.counts().photos_dropped, 1);
}

/// The sizes of the photos that are kept.
async fn kept(server: &Server) -> Vec<i64> {
    let mut connection = server.app.storage.read().await.unwrap();
    let photos = predictions::photos(&mut connection).await.unwrap();
    photos.iter().map(|photo| photo.bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_was_lowered_is_reached_while_others_use_the_log() {
    let (count, each, limit) = (1000, 1000, 10_000);
    let server = keeping_at_most(limit).await;
    let mut transaction = server.app.storage.write().await.unwrap();
    for number in -count..0_i64 {
        let old = Photo { sha256: Digest::of(&number.to_le_bytes()), bytes: each };
        predictions::put_photo(&mut transaction, old, number).await.unwrap();
    }
    transaction.commit().await.unwrap();
    // Whoever logs a photo waits for the room of that one alone.
    predicted(&server, photo(1)).await;
    assert_eq!(listed(&server, "").await[0]["photo"], true);
    let bytes: i64 = kept(&server).await.iter().sum();
    assert!(((count - 1) * each..=count * each).contains(&bytes), "{bytes}");

    let journal = server.app.journal.clone();
    let retaining = tokio::spawn(async move { journal.retain().await });
    let mut seen = BTreeSet::new();
    while !retaining.is_finished() {
        server.app.journal.flush().await.unwrap();
        seen.insert(kept(&server).await.len());
    }
    retaining.await.unwrap().unwrap();
    // Not only before, after the first ones and at the end.
    assert!(seen.len() > 3, "{seen:?}");
    let bytes: i64 = kept(&server).await.iter().sum();
    assert!(bytes.cast_unsigned() <= limit, "{bytes}");
    assert_eq!(listed(&server, "").await[0]["photo"], true);
}

#[tokio::test]
async fn what_a_crash_leaves_of_photos_is_cleaned_up() {
    let server = keeping().await;
    let id = predicted(&server, photo(1)).await;
    let lost = predicted(&server, photo(2)).await;
    assert_eq!(listed(&server, "").await.len(), 2);
    // A file without a row, a row without a file, and a damaged file.
    let orphan = server.folder.path().join("predictions/ab").join("ab".repeat(32));
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, "x").unwrap();
    let of_lost = server.get(&format!("/predictions/{lost}")).await.ok()["sha256"].clone();
    let of_lost = of_lost.as_str().unwrap().to_owned();
    std::fs::remove_file(files(&server).iter().find(|file| file.ends_with(&of_lost)).unwrap())
        .unwrap();
    server.get(&format!("/predictions/{lost}/photo")).await.problem(404, "photo_not_kept");
    server.app.journal.clean_up().await.unwrap();
    assert!(!orphan.exists());
    assert_eq!(server.get(&format!("/predictions/{lost}")).await.ok()["photo"], false);
    assert_eq!(server.get(&format!("/predictions/{id}/photo")).await.body, photo(1));
    std::fs::write(&files(&server)[0], "x").unwrap();
    server.get(&format!("/predictions/{id}/photo")).await.problem(404, "photo_not_kept");
    // Sent again, it is whole again.
    let again = predicted(&server, photo(1)).await;
    assert_eq!(server.get(&format!("/predictions/{again}/photo")).await.body, photo(1));
    execute(server.folder.path(), "DELETE FROM prediction_photos").await;
    server.app.journal.clean_up().await.unwrap();
    assert!(files(&server).is_empty());
}
