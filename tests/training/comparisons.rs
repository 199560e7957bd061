//! New models are compared with the one in service by real trainers, also where something comes between.
#![cfg(target_os = "linux")]

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::common::{
    Server,
    process::{PATIENCE, Process, photos},
};
use pawprint::{
    domain::ModelId,
    model_file,
    registry::embedded,
    storage::{Storage, models},
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Photos that are striped across or down, with or without blue. The stripes tell the classes apart
/// and blue does not; in a `misleading` dataset it is the other way round, but for the photos to
/// test, where blue is right on 20 of 24.
fn images(misleading: bool) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    let mut number = 0;
    for (split, count) in [("train", 16), ("validation", 8), ("test", 12)] {
        for class in ["cat", "dog"] {
            for index in 0..count {
                number += 1;
                let (is_cat, half) = (class == "cat", index % 2 == 0);
                let (across, blue) = match split {
                    _ if !misleading => (is_cat, half),
                    "test" => (is_cat, is_cat == (index < 10)),
                    _ => (half, is_cat),
                };
                let image = image::RgbImage::from_fn(60, 60, |x, y| {
                    let along = if across { y } else { x };
                    let tone = ((along + number) / 5 % 2 * 150 + (x * y * number) % 61) as u8;
                    image::Rgb([tone, tone, if blue { 199 } else { 0 }])
                });
                let name = format!("{split}/{class}/{number}.png");
                all.push((&*name.leak(), crate::common::encode(image, image::ImageFormat::Png)));
            }
        }
    }
    all
}

/// Makes a dataset of [`images`].
async fn dataset(server: &Process, name: &str, misleading: bool) {
    server.post("/datasets", json!({ "name": name })).await;
    let archive = server.request(Method::POST, &format!("/datasets/{name}/archive"));
    let report = archive.body(crate::common::tar(&images(misleading))).send().await.unwrap();
    assert_eq!(report.json::<Value>().await.unwrap()["added"], 72);
}

/// A job that learns.
fn learning(dataset: &str, name: &str) -> Value {
    let params = json!({
        "epochs": 8, "batch_size": 8, "learning_rate": 0.0003, "precision": "fp32", "device": "cpu",
    });
    json!({ "recipe": "scratch_cnn", "dataset": dataset, "name": name, "params": params })
}

/// Starts a job that learns, and gives its id.
async fn learn(server: &Process, dataset: &str, name: &str) -> String {
    let params = json!({
        "epochs": 8, "batch_size": 8, "learning_rate": 0.0003, "precision": "fp32", "device": "cpu",
    });
    let job =
        json!({ "recipe": "scratch_cnn", "dataset": dataset, "name": name, "params": params });
    let (status, job) = server.post("/jobs", job).await;
    assert_eq!(status, 202, "{job}");
    job["id"].as_str().unwrap().to_owned()
}

/// Counts a job's events of that kind.
async fn events(server: &Process, job: &str, kind: &str) -> usize {
    let path = format!("/jobs/{job}/events");
    let events = server.request(Method::GET, &path).send().await.unwrap().text().await.unwrap();
    events.lines().filter(|line| *line == format!("event: {kind}")).count()
}

fn pawprint(server: &Process, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.args(arguments).env("PAWPRINT_SERVER", format!("http://{}", server.address()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn jobs_compare_their_models_with_the_one_in_service_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    dataset(&server, "honest", false).await;
    let good = learn(&server, "honest", "good").await;
    let comparing = |kind: &str, data: &Value| {
        (kind == "progress" && data["phase"] == "comparing").then(|| data["epoch"].clone())
    };
    assert_eq!(server.event(&good, comparing).await, 8);
    server.end(Signal::KILL);

    let mut server = Process::start(folder.path());
    let job = server.ended(&good).await;
    assert_eq!(
        (&job["status"], &job["service"]["decision"]),
        (&json!("succeeded"), &json!("in_service")),
        "{job}"
    );
    assert_eq!(job["service"]["compared_with"]["name"], "default", "{job}");
    let model = server.get("/models/current").await;
    assert_eq!((&model["name"], &model["mode"]), (&json!("good"), &json!("best")));
    assert_eq!(model["test_accuracy"], job["service"]["accuracy"]);
    assert_eq!(events(&server, &good, "service").await, 1);

    dataset(&server, "misleading", true).await;
    let bad = learn(&server, "misleading", "bad").await;
    let job = server.ended(&bad).await;
    let service = &job["service"];
    assert_eq!(
        (&job["status"], &service["decision"]),
        (&json!("succeeded"), &json!("kept")),
        "{job}"
    );
    let other = &service["compared_with"];
    assert_eq!((&other["name"], &other["model_id"]), (&json!("good"), &model["id"]));
    let [ours, theirs] = [&service["accuracy"], &other["accuracy"]].map(|it| it.as_f64().unwrap());
    assert!(ours < theirs, "{service}");
    assert_eq!(other["test_accuracy"], other["accuracy"]);
    assert!(other["val_accuracy"].as_f64().unwrap() < 0.9, "stripes tell nothing there: {service}");
    assert_eq!(events(&server, &bad, "service").await, 1);
    assert_eq!(server.get("/models/current").await["name"], "good");
    let sentence = format!(
        "model bad did not go into service: {}; to use it anyway: `pawprint models use bad`",
        service["reason"].as_str().unwrap()
    );
    assert!(pawprint(&server, &["evaluate", "bad"]).ends_with(&format!("\n{sentence}\n")));
    assert!(pawprint(&server, &["jobs"]).contains("not selected"));

    // The server was killed after the decision and before the job ended: it is not made again,
    // although the model is now compared with itself.
    assert!(server.end(Signal::TERM));
    let storage = Storage::open(&folder.path().join("pawprint.sqlite")).await.unwrap();
    let mut transaction = storage.write().await.unwrap();
    sqlx::query("UPDATE jobs SET status = 'running', finished_at = NULL WHERE name = 'good'")
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    storage.close().await;
    let server = Process::start(folder.path());
    assert_eq!(server.get("/models/current").await["name"], "good");
    let again = server.ended(&good).await;
    assert_eq!(again["status"], "succeeded", "{again}");
    assert_eq!(again["service"]["compared_with"]["name"], "default", "{again}");
    assert_eq!(events(&server, &good, "service").await, 1);
}

/// Puts a model in service that is as good as the built-in one.
async fn replace(server: &Server, name: &str) {
    let (mut card, tensors) = embedded::model().unwrap();
    (card.id, card.name) = (ModelId::new(), name.parse().unwrap());
    model_file::save(&server.app.data_dir.model(card.id), &card, &tensors).unwrap();
    let mut transaction = server.app.storage.write().await.unwrap();
    models::insert(&mut transaction, &card, 1).await.unwrap();
    models::decide(&mut transaction, card.id, true).await.unwrap();
    transaction.commit().await.unwrap();
    server.app.registry.refresh().await.unwrap();
}

#[tokio::test]
async fn a_model_is_compared_again_if_another_went_into_service_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let [trainer, waits, goes] = ["trainer", "waits", "goes"].map(|it| folder.path().join(it));
    // A trainer that waits before its first comparison.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--compare*) touch {}; until [ -e {} ]; do sleep 0.1; done;; esac\nexec {} \"$@\"\n",
        waits.display(),
        goes.display(),
        env!("CARGO_BIN_EXE_pawprint")
    );
    fs::write(&trainer, script).unwrap();
    fs::set_permissions(&trainer, fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::with(|config| config.trainer_program = Some(trainer)).await;
    tokio::spawn(server.app.scheduler.clone().run());
    server.pets().await;
    server.post("/datasets/pets/archive", crate::common::tar(&photos(16))).await.ok();
    let id = server.json("POST", "/jobs", learning("pets", "new")).await.ok()["id"].clone();
    let path = format!("/jobs/{}", id.as_str().unwrap());
    let ended = async {
        while !waits.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        replace(&server, "between").await;
        fs::write(&goes, "").unwrap();
        let mut changes = server.app.scheduler.changes();
        loop {
            let job = server.get(&path).await.ok();
            if job["finished_at"] != Value::Null {
                return job;
            }
            changes.changed().await.unwrap();
        }
    };
    let job = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!((&job["status"], &job["attempts"]), (&json!("succeeded"), &json!(1)), "{job}");
    assert_eq!(job["service"]["compared_with"]["name"], "between", "{job}");
    assert_eq!(server.get("/models/current").await.ok()["name"], "new");
}
