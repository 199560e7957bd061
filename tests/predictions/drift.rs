//! Drift: images that are unlike those that the model was validated on.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{
    common::{Server, photo, skip::real_data},
    listed, logging, predicted,
};

#[tokio::test]
async fn images_unlike_any_cat_or_dog_are_drift() {
    let server = logging().await;
    for number in 0..29 {
        predicted(&server, photo(number)).await;
    }
    let few = server.get("/predictions/drift").await.ok();
    assert_eq!((&few["verdict"], &few["predictions"]), (&json!("too_few"), &json!(29)));
    assert_eq!(few["detail"], "Too few predictions to say: 29 of at least 30.");
    predicted(&server, photo(29)).await;
    let drift = server.get("/predictions/drift?model=default&hours=1&buckets=4").await.ok();
    assert_eq!(
        (&drift["verdict"], &drift["predictions"]),
        (&json!("drift"), &json!(30)),
        "{drift}"
    );
    assert_eq!(drift["model"]["name"], "default");
    assert_eq!(drift["distance"]["verdict"], "drift");
    assert_eq!(drift["unsure"]["verdict"], "drift");
    let buckets = drift["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), 4);
    assert_eq!(buckets[3]["predictions"], 30);
    assert_eq!((&buckets[0]["predictions"], &buckets[0]["unsure"]), (&json!(0), &json!(null)));
    // The built-in model is older than the record of classes.
    assert_eq!(
        (&drift["classes"]["psi"], &drift["classes"]["verdict"]),
        (&json!(null), &json!(null))
    );
    let text = String::from_utf8(server.get("/metrics").await.body).unwrap();
    let line = text.lines().find(|line| line.starts_with("pawprint_drift_verdict{")).unwrap();
    assert!(line.contains("name=\"default\"") && line.ends_with(" 2.0"), "{line}");
    assert!(text.contains("pawprint_prediction_log_written_total 30"), "{text}");

    for query in ["hours=0", "hours=9999999", "buckets=0", "buckets=201", "hours=x", "days=1"] {
        server.get(&format!("/predictions/drift?{query}")).await.problem(422, "invalid_value");
    }
    server.get("/predictions/drift?model=nope").await.problem(404, "not_found");
}

#[tokio::test]
async fn unsure_answers_are_counted_by_the_thresholds_of_today() {
    let server = logging().await;
    for number in 0..30 {
        predicted(&server, photo(number)).await;
    }
    let rows = listed(&server, "limit=100").await;
    let was_unsure = rows.iter().filter(|row| row["unsure"] == true).count();
    assert!(was_unsure > 0);
    let values = |member: &str| -> Vec<f64> {
        rows.iter().map(|row| row[member].as_f64().unwrap()).collect()
    };
    let (probabilities, distances) = (values("probability"), values("distance"));
    // Between the values, so that some are on either side.
    let between = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        f64::midpoint(least, most)
    };
    let (low, far) = (between(&probabilities), between(&distances));
    for (answer_above, unlike_above) in
        [(Some(low), None), (None, Some(far)), (Some(low), Some(far)), (None, None)]
    {
        let changes = json!({ "answer_above": answer_above, "unlike_above": unlike_above });
        server.json("PATCH", "/models/default", changes).await.ok();
        let both = probabilities.iter().zip(&distances);
        let unsure = both.filter(|(probability, distance)| {
            answer_above.is_some_and(|above| **probability < above)
                || unlike_above.is_some_and(|above| **distance > above)
        });
        let unsure = unsure.count() as f64;
        let drift = server.get("/predictions/drift").await.ok();
        let fraction = drift["unsure"]["fraction"].as_f64().unwrap();
        assert!((fraction * 30.0 - unsure).abs() < 1e-9, "{unsure} {drift}");
    }
    // The log still says what was answered.
    assert_eq!(listed(&server, "unsure=true&limit=100").await.len(), was_unsure);
}

#[tokio::test]
async fn a_model_without_predictions_has_too_few() {
    let server = logging().await;
    let drift = server.get("/predictions/drift").await.ok();
    assert_eq!((&drift["verdict"], &drift["predictions"]), (&json!("too_few"), &json!(0)));
    assert_eq!(drift["buckets"].as_array().unwrap().len(), 24);
}

/// The first images in each of the folders.
fn images(folders: &[&str], root: &Path, each: usize) -> Vec<Vec<u8>> {
    let mut images = Vec::new();
    for folder in folders {
        let mut files: Vec<_> =
            fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        images.extend(files.iter().take(each).map(|file| fs::read(file).unwrap()));
    }
    images
}

async fn drift_of(images: Vec<Vec<u8>>, server: &Server) -> Value {
    for image in images {
        predicted(server, image).await;
    }
    server.get("/predictions/drift").await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_sent_to_the_model_of_cats_and_dogs_is_drift_and_pets_are_not() {
    let Some(root) = real_data() else { return };
    let pets = logging().await;
    let pets =
        drift_of(images(&["dogs-vs-cats/test/cat", "dogs-vs-cats/test/dog"], &root, 100), &pets)
            .await;
    assert_eq!((&pets["verdict"], &pets["predictions"]), (&json!("stable"), &json!(200)), "{pets}");
    let rubbish = logging().await;
    let folders = ["trashnet/test/glass", "trashnet/test/metal", "trashnet/test/paper"];
    let rubbish = drift_of(images(&folders, &root, 60), &rubbish).await;
    assert_eq!(rubbish["verdict"], "drift", "{rubbish}");
    assert_eq!(rubbish["distance"]["verdict"], "drift");
}
