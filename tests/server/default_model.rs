//! The model in the binary: it answers until a better one takes its place, and can be pinned.
#![cfg(target_os = "linux")]

use std::{fs, process::Command};

use crate::common::{photo, process::Process};
use pawprint::{
    model_file::{load, load_card},
    registry::embedded,
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

async fn predict(server: &Process, query: &str) -> (u16, Value) {
    let path = format!("/predict{query}");
    let request = server.request(Method::POST, &path).header("content-type", "image/jpeg");
    let answer = request.body(photo(1)).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn it_answers_from_the_first_start_and_until_another_model_is_better_or_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    assert_eq!(server.get("/readyz").await["status"], "ready");
    let current = server.get("/models/current").await;
    assert_eq!((&current["name"], &current["mode"]), (&json!("default"), &json!("best")));
    assert!(current["test_accuracy"].as_f64().unwrap() >= 0.985, "{current}");
    assert!(current["bytes"].as_u64().unwrap() <= 8_100_000, "{current}");
    assert_eq!(predict(&server, "").await.1["model"]["name"], "default");

    // A model that has learnt nothing does not take its place, until somebody wants it to.
    server.pets(4).await;
    let params = json!({ "epochs": 1, "batch_size": 8, "learning_rate": 1e-6 });
    let id = server.job(params).await;
    let job = server.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["service"]["decision"]),
        (&json!("succeeded"), &json!("guessing")),
        "{job}"
    );
    assert_eq!(predict(&server, "").await.1["model"]["name"], "default");
    let choice = json!({ "model": job["name"] });
    let (status, current) = server.ask(Method::PUT, "/models/current", Some(choice)).await;
    assert_eq!((status, &current["mode"]), (200, &json!("pinned")));
    assert_eq!(predict(&server, "").await.1["model"]["name"], job["name"]);
    assert_eq!(predict(&server, "?model=default").await.1["model"]["name"], "default");

    let (status, problem) = server.ask(Method::DELETE, "/models/default", None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("embedded_model")));

    let choice = json!({ "model": "default" });
    let (status, current) = server.ask(Method::PUT, "/models/current", Some(choice)).await;
    assert_eq!((status, &current["mode"]), (200, &json!("pinned")));
    assert!(server.end(Signal::TERM));
    let server = Process::start(folder.path());
    let current = server.get("/models/current").await;
    assert_eq!((&current["name"], &current["mode"]), (&json!("default"), &json!("pinned")));
}

#[tokio::test]
async fn a_model_that_is_embedded_is_another_than_the_one_it_is_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    let id = server.job(json!({ "epochs": 1, "batch_size": 8 })).await;
    let job = server.ended(&id).await;
    let model = job["model_id"].as_str().unwrap();
    let from = folder.path().join(format!("models/{model}.safetensors"));
    let to = folder.path().join("embedded.safetensors");
    let mut embed = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    assert!(embed.arg("embed").args([&from, &to]).status().unwrap().success());

    let (of, embedded) = (load_card(&from).unwrap(), load_card(&to).unwrap());
    assert_ne!(embedded.id, of.id);
    assert_eq!(embedded.name.to_string(), "default");
    assert_eq!((embedded.job_id, embedded.test), (of.job_id, of.test));
    assert!(fs::metadata(&to).unwrap().len() < fs::metadata(&from).unwrap().len() * 6 / 10);
}

/// The base network that is in the binary anyway is not embedded twice, and nothing is lost by that.
#[tokio::test]
async fn a_model_of_a_built_in_network_is_embedded_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    let id = server.job_of("efficientnet_lite0_features", json!({ "epochs": 1 })).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let model = job["model_id"].as_str().unwrap();
    let from = folder.path().join(format!("models/{model}.safetensors"));
    let to = folder.path().join("embedded.safetensors");
    let mut embed = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    assert!(embed.arg("embed").args([&from, &to]).status().unwrap().success());
    // The head, the features of eight training images, and the card.
    assert!(fs::metadata(&to).unwrap().len() < 5_120 + 8 * 1_280 + 8_000);
    let (tensors, all) = (load(&to).unwrap().1, load(&from).unwrap().1);
    let names: Vec<_> = tensors.keys().collect();
    assert_eq!(names, ["neighbours", "output.bias", "output.weight"]);
    let base = embedded::model().unwrap().1;
    for (name, tensor) in all.iter().filter(|(name, _)| !tensors.contains_key(*name)) {
        assert_eq!(base.get(name), Some(tensor), "{name}");
    }
}

#[tokio::test]
async fn a_file_that_the_disk_damaged_is_made_good_and_without_one_the_server_lives() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    let id = server.get("/models/default").await["id"].as_str().unwrap().to_owned();
    let path = folder.path().join(format!("models/{id}.safetensors"));
    let whole = fs::read(&path).unwrap();
    assert!(server.end(Signal::TERM));

    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let mut server = Process::start(folder.path());
    assert_eq!(predict(&server, "").await.0, 200);
    assert!(fs::read(&path).unwrap() == whole);
    assert!(server.end(Signal::TERM));

    // Nothing can be written over a folder.
    fs::remove_file(&path).unwrap();
    fs::create_dir_all(path.join("in the way")).unwrap();
    let server = Process::start(folder.path());
    assert_eq!(server.get("/healthz").await["status"], "ok");
    for path in ["/readyz", "/v2/health/ready"] {
        let (status, problem) = server.ask(Method::GET, path, None).await;
        assert_eq!((status, &problem["code"]), (503, &json!("not_ready")), "{path}");
    }
    for path in ["/models/current", "/v2/models/current", "/v2/models/current/ready"] {
        let (status, problem) = server.ask(Method::GET, path, None).await;
        assert_eq!((status, &problem["code"]), (503, &json!("no_model")), "{path}");
    }
    assert_eq!(predict(&server, "").await.1["code"], "no_model");
}
