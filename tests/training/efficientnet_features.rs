//! `efficientnet_lite0_features` as a user runs it: from images to a model that predicts and explains.
#![cfg(target_os = "linux")]

use crate::common::{photo, process::Process};
use reqwest::Method;
use serde_json::{Value, json};

const RECIPE: &str = "efficientnet_lite0_features";

async fn trained(server: &Process, params: Value) -> Value {
    let id = server.job_of(RECIPE, params).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    job
}

#[tokio::test]
async fn a_few_images_of_each_class_become_a_model_that_predicts_and_explains() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    let job = trained(&server, json!({})).await;
    let id = job["id"].as_str().unwrap();
    assert_eq!(server.epochs(id).await, (1..=11).collect::<Vec<_>>());
    let metrics = server.get(&format!("/jobs/{id}/metrics")).await;
    let losses: Vec<f64> = metrics["epochs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|epoch| epoch["train_loss"].as_f64().unwrap())
        .collect();
    // However strongly it is regularised, each is as sure as the validation images allow.
    assert!(losses.iter().all(|loss| (0.03..0.1).contains(loss)), "{losses:?}");
    assert_eq!(metrics["epochs"][10]["train_accuracy"], 1.0);

    // Few images: each of all splits is classified by a model that has not seen it.
    let evaluation = server.get(&format!("/jobs/{id}/evaluation")).await;
    let crossed = &evaluation["cross_validation"];
    assert_eq!((&crossed["folds"], &crossed["count"]), (&json!(5), &json!(16)), "{crossed}");
    assert!(crossed["correct"].as_u64().unwrap() >= 14, "{crossed}");

    // The same again, with features from the cache and another batch size.
    let again = trained(&server, json!({ "batch_size": 5 })).await;
    assert_eq!(server.weights(&job).await, server.weights(&again).await);
    let path = format!("/jobs/{}/evaluation", again["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await["cross_validation"], *crossed);

    let model = job["model_id"].as_str().unwrap();
    for path in ["/predict", "/explain?format=json"] {
        let separator = if path.contains('?') { '&' } else { '?' };
        let request = server
            .request(Method::POST, &format!("{path}{separator}model={model}"))
            .header("content-type", "image/jpeg");
        let response = request.body(photo(1)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn what_the_recipe_does_not_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    for params in [json!({ "learning_rate": 0.1 }), json!({ "head_epochs": 3 })] {
        let body = json!({ "recipe": RECIPE, "dataset": "pets", "params": params });
        let (status, problem) = server.post("/jobs", body).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_value")), "{problem}");
    }
    let job = trained(&server, json!({ "epochs": 1 })).await;
    assert!(job["params"].get("learning_rate").is_none(), "{job}");
}
