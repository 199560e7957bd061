//! `GET /recipes`: which recipe to take, and how long it takes.
#![cfg(target_os = "linux")]

use crate::common::{Server, photo, process::Process};
use pawprint::domain::recipe::Recipe;
use serde_json::{Value, json};

fn items(recipes: &Value) -> &Vec<Value> {
    recipes["items"].as_array().unwrap()
}

#[tokio::test]
async fn the_recommended_recipe_comes_first_and_each_says_when_to_take_it() {
    let server = Server::start().await;
    let recipes = server.get("/recipes").await.ok();
    let names: Vec<_> = items(&recipes).iter().map(|it| it["recipe"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "efficientnet_lite0_features",
            "efficientnet_lite0_finetune",
            "scratch_cnn",
            "augmented_cnn",
            "vgg16_features",
            "vgg16_finetune",
        ]
    );
    for (index, item) in items(&recipes).iter().enumerate() {
        assert_eq!(item["recommended"], index == 0, "{item}");
        assert_eq!(item["estimate"], Value::Null);
        let use_when = item["use_when"].as_str().unwrap();
        assert!(use_when.ends_with('.') && !use_when.contains("epoch"), "{use_when}");
        assert!(Recipe::ALL.iter().all(|recipe| !use_when.contains(recipe.as_str())), "{use_when}");
        assert_eq!(names.iter().filter(|&&name| item["recipe"] == name).count(), 1);
    }
    assert_eq!(names[0], Recipe::DEFAULT.as_str());
}

#[tokio::test]
async fn before_any_job_estimates_follow_from_a_forward_pass() {
    let server = Server::start().await;
    let pets = server.pets().await;
    server.get("/recipes?dataset=none").await.problem(404, "not_found");
    let empty = server.get("/recipes?dataset=pets").await.ok();
    assert!(items(&empty).iter().all(|item| item["estimate"].is_null()), "{empty}");

    let files: Vec<_> = (0..4).map(|number| (format!("cat.{number}.jpg"), photo(number))).collect();
    let files: Vec<_> = files.iter().map(|(name, file)| (&**name, file.clone())).collect();
    server.upload(&format!("{}?label=cat", crate::common::IMAGES), &files).await.ok();
    let by_name = server.get("/recipes?dataset=pets").await.ok();
    let by_id = server.get(&format!("/recipes?dataset={}", pets["id"].as_str().unwrap())).await;
    assert_eq!(by_id.ok(), by_name);
    // On a GPU nothing is known before the first job.
    let devices = server.get("/system").await.ok()["devices"].clone();
    for item in items(&by_name) {
        if devices == json!(["cpu"]) {
            assert_eq!(item["estimate"]["basis"], "model", "{item}");
            assert!(item["estimate"]["seconds"].as_f64().unwrap() > 0.0, "{item}");
        } else {
            assert_eq!(item["estimate"], Value::Null);
        }
    }
}

/// A job took some seconds: one like it, on the same number of new images, takes as long.
#[tokio::test]
async fn a_finished_job_is_the_basis_of_estimates_of_its_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    let other = json!({ "precision": "fp32" });
    for params in [other, json!({})] {
        let recipes = server.get("/recipes?dataset=pets").await;
        assert_ne!(items(&recipes)[0]["estimate"]["basis"], "jobs");
        let id = server.job_of("efficientnet_lite0_features", params).await;
        let job = server.ended(&id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
    }
    let recipes = server.get("/recipes?dataset=pets").await;
    let bases: Vec<_> = items(&recipes).iter().map(|it| &it["estimate"]["basis"]).collect();
    assert_eq!(bases[0], "jobs");
    assert!(bases[1..].iter().all(|&basis| basis != "jobs"), "{bases:?}");

    let jobs = server.get("/jobs?limit=1").await;
    let time = |field: &str| -> jiff::Timestamp {
        jobs["items"][0][field].as_str().unwrap().parse().unwrap()
    };
    let taken = time("finished_at").duration_since(time("started_at")).as_secs_f64();
    let estimated = items(&recipes)[0]["estimate"]["seconds"].as_f64().unwrap();
    let ratio = estimated / taken;
    assert!((0.5..2.0).contains(&ratio), "{estimated} s, the last job took {taken} s");
}
