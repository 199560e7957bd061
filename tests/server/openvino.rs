//! Predictions whose convolutions OpenVINO computes, beside those of libtorch.
#![expect(clippy::print_stdout, reason = "how far answers lie apart is worth reading")]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::{path::Path, process::Command, time::Duration};

use crate::common::{photo, process::Process, skip::real_data};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

fn start(data_dir: &Path, engine: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    Process::spawn(command.env("PAWPRINT_INFERENCE_ENGINE", engine), data_dir)
}

/// Puts a model in service, and waits until that engine computes its predictions.
async fn put_in_service(server: &Process, model: &str, engine: &str) {
    let pinned = server.ask(Method::PUT, "/models/current", Some(json!({ "model": model }))).await;
    assert_eq!(pinned.0, 200, "{}", pinned.1);
    for _ in 0..1200 {
        if server.get("/system").await["inference_engine"] == engine {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let used = server.get("/system").await["inference_engine"].take();
    assert_eq!(used, engine, "`make openvino` installs OpenVINO");
}

async fn prediction(server: &Process, photo: &[u8]) -> Value {
    let request = server.request(Method::POST, "/predict");
    let answer = request.body(photo.to_vec()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.unwrap()["predictions"][0].take()
}

/// How far the probabilities of two predictions lie apart.
fn apart(one: &Value, other: &Value) -> f64 {
    let [one, other] = [one, other].map(|it| it["probabilities"].as_object().unwrap());
    let difference = |(class, probability): (&String, &Value)| {
        (probability.as_f64().unwrap() - other[class].as_f64().unwrap()).abs()
    };
    one.iter().map(difference).fold(0.0, f64::max)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_libtorch_but_for_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let mut photos: Vec<Vec<u8>> = (0..12).map(photo).collect();
    if let Some(data) = real_data() {
        let files = walkdir::WalkDir::new(data.join("dogs-vs-cats/test")).sort_by_file_name();
        let files = files.into_iter().flatten().filter(|entry| entry.file_type().is_file());
        photos.extend(files.step_by(37).map(|entry| std::fs::read(entry.path()).unwrap()));
    }
    // The built-in model has the features of a base network, the other one is the small network.
    let (mut trained, names) = Process::with_models(folder.path()).await;
    assert!(trained.end(Signal::TERM));
    let mut answers = Vec::new();
    for engine in ["libtorch", "openvino"] {
        let mut server = start(folder.path(), engine);
        let mut of_engine = Vec::new();
        for model in ["default", &names[0]] {
            put_in_service(&server, model, engine).await;
            for photo in &photos {
                of_engine.push(prediction(&server, photo).await);
            }
        }
        assert!(server.end(Signal::TERM));
        answers.push(of_engine);
    }
    let mut most = 0.0_f64;
    for (ours, theirs) in answers[0].iter().zip(&answers[1]) {
        let apart = apart(ours, theirs);
        most = most.max(apart);
        assert!(apart < 0.02, "{ours}\n{theirs}");
        let sure = (ours["probability"].as_f64().unwrap() - 0.5).abs() > 0.02;
        assert!(!sure || ours["label"] == theirs["label"], "{ours}\n{theirs}");
    }
    println!("{} answers, probabilities up to {most:.5} apart", answers[0].len());
    // Otherwise both were computed by libtorch.
    assert!(most > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_and_batches_get_the_answer_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "openvino");
    put_in_service(&server, "default", "openvino").await;
    let photos: Vec<Vec<u8>> = (0..8).map(photo).collect();
    let mut alone = Vec::new();
    for photo in &photos {
        alone.push(prediction(&server, photo).await);
    }
    let together =
        |_| futures::future::join_all(photos.iter().map(|photo| prediction(&server, photo)));
    for answers in futures::future::join_all((0..4).map(together)).await {
        for (one, other) in alone.iter().zip(&answers) {
            assert!(apart(one, other) < 1e-3, "{one}\n{other}");
        }
    }
    let form = photos.iter().fold(reqwest::multipart::Form::new(), |form, photo| {
        form.part("image", reqwest::multipart::Part::bytes(photo.clone()).file_name("photo.jpg"))
    });
    let answer = server.request(Method::POST, "/predict").multipart(form).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    for (one, other) in alone.iter().zip(answer["predictions"].as_array().unwrap()) {
        assert!(apart(one, other) < 1e-3, "{one}\n{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_while_openvino_compiles_ends_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    for milliseconds in [0, 200, 400, 600, 800, 1200] {
        let mut server = start(folder.path(), "openvino");
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        assert!(server.end(Signal::TERM), "after {milliseconds} ms");
    }
}
