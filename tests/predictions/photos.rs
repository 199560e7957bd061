//! The photos of predictions, where they are kept.

use std::path::PathBuf;

use axum::http::header;
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

#[tokio::test]
async fn the_oldest_photos_make_room_and_their_predictions_stay() {
    let sizes: Vec<u64> = (0..8).map(|number| photo(number).len() as u64).collect();
    let limit = sizes[5..].iter().sum::<u64>() + 10;
    let server = Server::with(|config| {
        config.prediction_log.prediction_log = true;
        config.prediction_log.prediction_log_photos = true;
        config.prediction_log.prediction_log_photo_bytes = limit;
    })
    .await;
    for number in 0..8 {
        predicted(&server, photo(number)).await;
        let kept: u64 =
            listed(&server, "").await.iter().filter(|row| row["photo"] == true).count() as u64;
        assert!(kept >= 1);
        let bytes: u64 = files(&server).iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes <= limit, "{bytes} {limit}");
    }
    let rows = listed(&server, "").await;
    assert_eq!(rows.len(), 8);
    assert_eq!((&rows[0]["photo"], &rows[7]["photo"]), (&json!(true), &json!(false)));
    // One that is larger than all that may be kept.
    let large = super::common::encode(image::RgbImage::new(600, 600), image::ImageFormat::Bmp);
    predicted(&server, large).await;
    assert_eq!(listed(&server, "").await[0]["photo"], false);
    assert_eq!(server.app.journal.counts().photos_dropped, 1);
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
