//! A data directory of the version before datasets could be open and models unsure.
//!
//! `fixtures/data_directory_4.tar.gz` was written by that version: the dataset `pets`, the job `old` of
//! `scratch_cnn` with its evaluation, and its model; but that its weights are zero, except for the last
//! bias, which is 0.25.
#![cfg(target_os = "linux")]

use crate::common::{photo, process::Process};
use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::{Value, json};

const FIXTURE: &[u8] = include_bytes!("../fixtures/data_directory_4.tar.gz");

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

#[tokio::test]
async fn all_of_it_is_served_as_before_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(GzDecoder::new(FIXTURE)).unpack(folder.path()).unwrap();
    let server = Process::start(folder.path());

    let dataset = server.get("/datasets/pets").await;
    assert_eq!((&dataset["classes"], &dataset["images"]), (&json!(["cat", "dog"]), &json!(16)));
    let job = server.get("/jobs/old").await;
    assert_eq!(job["status"], "succeeded");
    assert_eq!(dataset["version"], job["dataset_version"], "the version of the same images");
    assert_eq!(job["params"]["class_weights"], "none");

    let evaluation = server.get("/jobs/old/evaluation").await;
    assert_eq!((&evaluation["threshold"], &evaluation["count"]), (&json!(0.5), &json!(4)));
    assert_eq!(evaluation["pr_curve"]["auc"], 1.0);
    assert_eq!(evaluation["calibration"]["bins"].as_array().unwrap().len(), 10);
    for missing in ["one_vs_rest", "top_5_accuracy", "unsure", "class_weights"] {
        assert_eq!(evaluation[missing], Value::Null, "{missing}");
    }
    for chart in ["accuracy", "loss", "confusion", "pr", "roc", "reliability"] {
        let path = format!("/jobs/old/charts/{chart}.svg");
        let chart = server.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(chart.status(), 200, "{path}");
    }

    // The model gives the probability of its logit, and is never unsure.
    let model = server.get("/models/old").await;
    assert_eq!((&model["answer_above"], &model["unlike_above"]), (&Value::Null, &Value::Null));
    assert_eq!(server.get("/models/old/coverage").await, json!([]));
    let request = server.request(Method::POST, "/predict?model=old");
    let request = request.header("content-type", "image/jpeg").body(photo(1));
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let prediction = &answer["predictions"][0];
    assert_eq!((&prediction["label"], &prediction["unsure"]), (&json!("dog"), &json!(false)));
    assert!((prediction["probability"].as_f64().unwrap() - sigmoid(0.25)).abs() < 1e-6);
    let patch =
        server.request(Method::PATCH, "/models/old").json(&json!({ "wanted_accuracy": 0.9 }));
    assert_eq!(patch.send().await.unwrap().status(), 422);
    let patch = server.request(Method::PATCH, "/models/old").json(&json!({ "answer_above": 0.9 }));
    assert_eq!(patch.send().await.unwrap().status(), 200);
    assert_eq!(server.get("/models/old").await["answer_above"], 0.9);

    // New jobs train on the dataset, and old ones are compared with.
    let (status, _) = server.post("/models/current", json!({})).await;
    assert_eq!(status, 405);
    let put = server.request(Method::PUT, "/models/current").json(&json!({ "model": "old" }));
    assert_eq!(put.send().await.unwrap().status(), 200);
    let id = server.job_of("efficientnet_lite0_features", json!({ "epochs": 2 })).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(job["dataset_version"], dataset["version"]);

    // A renamed class makes another version.
    let rename = server.request(Method::PATCH, "/datasets/pets/classes/cat");
    let renamed = rename.json(&json!({ "name": "lion" })).send().await.unwrap();
    let renamed: Value = renamed.json().await.unwrap();
    assert_eq!(renamed["classes"], json!(["lion", "dog"]));
    assert_ne!(renamed["version"], dataset["version"]);
    let id = server.job_of("efficientnet_lite0_features", json!({ "epochs": 2 })).await;
    let job = server.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["dataset_version"]),
        (&json!("succeeded"), &renamed["version"])
    );
    drop(server);

    let doctor = std::process::Command::new(env!("CARGO_BIN_EXE_pawprint"))
        .args(["doctor", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success(), "{said}{}", String::from_utf8_lossy(&doctor.stderr));
}
