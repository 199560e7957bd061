//! Corrupted model files in the data directory, and corrupted uploads of VGG16 weights.

use std::{fs, path::PathBuf};

use rand::{RngExt as _, seq::IndexedRandom as _};
use reqwest::Method;
use serde_json::{Value, json};

use super::{GROWTH, MB, mutate::mutate, send};
use crate::{
    common::{self, photo, process::Process},
    machine::{mb, memory},
    sandbox::{Client, Sandbox},
    scale::{Trial, rounds},
};

/// Models whose files are corrupted in turn: one more than the server keeps loaded, so that each
/// request loads its model.
const MODELS: u64 = 3;

/// Trains models for one epoch; returns their names and files.
async fn models(server: &Process, sandbox: &Sandbox) -> Vec<(String, PathBuf)> {
    server.pets(4).await;
    let mut models = Vec::new();
    for seed in 0..MODELS {
        let id = server.job(json!({ "epochs": 1, "batch_size": 8, "seed": seed })).await;
        let job = server.ended(&id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        let file = format!("models/{}.safetensors", job["model_id"].as_str().unwrap());
        models.push((job["name"].as_str().unwrap().to_owned(), sandbox.data().join(file)));
    }
    models
}

#[tokio::test]
async fn a_damaged_model_is_refused_and_the_others_answer() {
    let trial = Trial::new("damaged models");
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let client = Client::of(&server);
    let models = models(&server, &sandbox).await;
    let choose = async |model: &str| {
        let body = json!({ "model": model });
        client.ask(Method::PUT, "/models/current", Some(body)).await.unwrap()
    };
    assert_eq!(choose("default").await.0, 200);
    let whole: Vec<_> = models.iter().map(|(_, file)| fs::read(file).unwrap()).collect();
    let (mut taken, mut refused, mut before) = (0, 0, 0);
    let rounds = rounds(60, 1_400);
    for round in 0..rounds {
        let mut draws = trial.draws(round);
        let number = round as usize % models.len();
        let (name, file) = &models[number];
        let header = 8 + u64::from_le_bytes(whole[number][..8].try_into().unwrap()) as usize;
        let mut bytes = whole[number].clone();
        if draws.random_ratio(3, 4) {
            // Only the header; its length is corrected or not.
            let mut head = mutate(bytes[..header].to_vec(), &whole[0][header..], &mut draws);
            if draws.random() && head.len() > 8 {
                let length = (head.len() - 8) as u64;
                head[..8].copy_from_slice(&length.to_le_bytes());
            }
            bytes.splice(..header, head);
        } else {
            bytes = mutate(bytes, &whole[0], &mut draws);
        }
        fs::write(file, bytes).unwrap();
        let (status, body) = if draws.random_ratio(1, 10) {
            let answer = choose(name).await;
            assert_eq!(choose("default").await.0, 200);
            answer
        } else {
            client.predict(&format!("?model={name}"), photo(round)).await.unwrap()
        };
        match status {
            200 => taken += 1,
            422 if body["code"] == "model_unusable" => refused += 1,
            _ => {
                trial.say(format_args!("round {round}: {status} {body}"));
                panic!("a damaged model was answered badly");
            }
        }
        let (status, body) = client.predict("", photo(round)).await.unwrap();
        assert_eq!((status, &body["model"]["name"]), (200, &json!("default")), "{body}");
        fs::write(file, &whole[number]).unwrap();
        if round == rounds / 5 {
            before = memory(server.pid());
        }
    }
    let after = memory(server.pid());
    for (name, _) in &models {
        assert_eq!(client.predict(&format!("?model={name}"), photo(1)).await.unwrap().0, 200);
    }
    sandbox.assert_no_panic();
    let figures = format!(
        "{taken} accepted, {refused} rejected; memory {} after {}, {} at the end",
        mb(before),
        rounds / 5,
        mb(after)
    );
    assert!(after < before + GROWTH, "{figures}");
    trial.ends(figures);
}

/// The allocator may keep the memory in which two threads read a file of 59 MB each.
const ARENAS: u64 = GROWTH + 2 * 59 * MB;

const FIXTURES: [&str; 6] = [
    "keras_published.h5",
    "keras_2.h5",
    "keras_model.h5",
    "keras.weights.h5",
    "torchvision_legacy.pth",
    "torchvision_zip.pth",
];

#[tokio::test]
async fn damaged_weights_are_refused_and_those_of_before_stay() {
    let trial = Trial::new("damaged VGG16 weights");
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let client = Client::of(&server);
    let put = async |bytes: Vec<u8>| {
        Client::send(client.request(Method::PUT, "/weights/vgg16").body(bytes)).await
    };
    let mut seeds: Vec<_> = FIXTURES.iter().map(|it| common::vgg16_weights(it)).collect();
    let (status, first) = put(seeds[0].clone()).await.unwrap();
    assert_eq!((status, &first["state"]), (200, &json!("ready")), "{first}");
    seeds.push(fs::read(sandbox.data().join("weights/vgg16.safetensors")).unwrap());
    let one = |round| {
        let mut draws = trial.draws(round);
        let seed = seeds.choose(&mut draws).unwrap();
        let damaged = mutate(seed.clone(), &seeds[0][..4096], &mut draws);
        let sent = put(damaged);
        async move { ("PUT /weights/vgg16".to_owned(), sent.await) }
    };
    let figures = send(&trial, &server, (rounds(10, 600), 2), ARENAS, &[200, 413, 422], one).await;
    let now = client.get("/weights/vgg16").await;
    assert_eq!((&now["state"], &now["error"]), (&json!("ready"), &Value::Null), "{now}");
    let (status, again) = put(seeds[0].clone()).await.unwrap();
    assert_eq!((status, &again), (200, &first));
    sandbox.assert_no_partial_upload().await;
    sandbox.assert_no_panic();
    trial.ends(figures);
}
