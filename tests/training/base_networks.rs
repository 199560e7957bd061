//! Base networks as the API shows them, and what the recipes of a built-in one share.
#![cfg(target_os = "linux")]

use crate::common::{
    Server,
    process::{Process, kill, photos},
    tar,
};
use pawprint::{
    bases::BaseWeights,
    domain::base::{BASES, EFFICIENTNET_LITE0},
    weights::checkpoint::Checkpoints,
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

#[tokio::test]
async fn weights_are_listed_and_only_published_ones_are_supplied() {
    let server = Server::start().await;
    let list = server.get("/weights").await.ok();
    let states: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|it| (&it["base"], &it["state"])).collect();
    let expected =
        [(json!("efficientnet_lite0"), json!("shipped")), (json!("vgg16"), json!("absent"))];
    assert_eq!(states, expected.each_ref().map(|(base, state)| (base, state)));
    for item in list["items"].as_array().unwrap() {
        let path = format!("/weights/{}", item["base"].as_str().unwrap());
        assert_eq!(server.get(&path).await.ok(), *item);
    }
    let shipped = &list["items"][0];
    assert_eq!(shipped["preprocessing"], "centred");
    assert!(shipped["sha256"].as_str().unwrap().starts_with("57934424"), "{shipped}");

    for (method, path, body) in [
        ("PUT", "/weights/efficientnet_lite0", json!("anything")),
        ("POST", "/weights/efficientnet_lite0/download", json!({})),
    ] {
        let problem = server.json(method, path, body).await.problem(409, "shipped");
        assert!(problem["detail"].as_str().unwrap().contains("EfficientNet-Lite0"), "{problem}");
    }
    server.get("/weights/resnet50").await.problem(404, "not_found");
    server.json("PUT", "/weights/resnet50", json!(1)).await.problem(404, "not_found");
    let download = json!({ "source": "keras" });
    server.json("POST", "/weights/resnet50/download", download).await.problem(404, "not_found");
}

#[tokio::test]
async fn each_base_network_has_its_two_recipes() {
    let server = Server::start().await;
    let recipes = server.get("/recipes").await.ok();
    let recipes = recipes["items"].as_array().unwrap();
    assert_eq!(recipes.len(), 2 + 2 * BASES.len());
    for base in BASES {
        let of_base: Vec<_> = recipes.iter().filter(|it| it["base"] == base.id()).collect();
        let names: Vec<_> = of_base.iter().map(|it| it["recipe"].as_str().unwrap()).collect();
        assert_eq!(names, [base.names.features, base.names.finetune]);
        for recipe in of_base {
            assert!(recipe["summary"].as_str().unwrap().contains(base.title), "{recipe}");
        }
    }
}

/// The features of an image are computed once, whichever dataset and job it is in.
#[tokio::test]
async fn features_are_shared_between_datasets() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    server.post("/datasets", json!({ "name": "others" })).await;
    let request = server.request(Method::POST, "/datasets/others/archive");
    assert_eq!(request.body(tar(&photos(4))).send().await.unwrap().status(), 200);
    let mut computed = Vec::new();
    for dataset in ["pets", "others", "pets"] {
        let body = json!({ "recipe": "efficientnet_lite0_features", "dataset": dataset });
        let (_, job) = server.post("/jobs", body).await;
        let id = job["id"].as_str().unwrap();
        let job = server.ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        let log = std::fs::read_to_string(server.folder(id).join("log.txt")).unwrap();
        let line = log.lines().find(|line| line.contains("features ready")).unwrap().to_owned();
        let count = line.split("computed=").nth(1).unwrap().split(' ').next().unwrap();
        computed.push(count.parse::<u64>().unwrap());
    }
    assert_eq!(computed, [photos(4).len() as u64, 0, 0]);
}

#[tokio::test]
async fn the_last_stages_of_a_built_in_network_are_fine_tuned_and_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(8).await;
    let recipe = "efficientnet_lite0_finetune";
    let params =
        json!({ "epochs": 2, "batch_size": 8, "precision": "fp32", "device": "cpu", "seed": 7 });
    let job = server.job_of(recipe, params.clone()).await;
    let undisturbed = server.ended(&job).await;
    assert_eq!(undisturbed["status"], "succeeded", "{undisturbed}");
    let job = server.job_of(recipe, params).await;
    server.epoch(&job, 1).await;
    kill(Process::trainers(&job)[0], Signal::KILL);
    let killed = server.ended(&job).await;
    assert_eq!((&killed["status"], &killed["attempts"]), (&json!("succeeded"), &json!(2)));
    let (ours, theirs) = (server.weights(&killed).await, server.weights(&undisturbed).await);
    assert!(ours == theirs, "the weights differ");
    // The best weights may be those before the first epoch; the losses are of all that was trained.
    let mut losses = Vec::new();
    for job in [&killed, &undisturbed] {
        let metrics = server.get(&format!("/jobs/{}/metrics", job["id"].as_str().unwrap())).await;
        let epochs = metrics["epochs"].as_array().unwrap().iter();
        let pairs = epochs.map(|it| (it["train_loss"].clone(), it["val_loss"].clone()));
        losses.push(pairs.collect::<Vec<_>>());
    }
    assert_eq!(losses[0], losses[1]);

    // No epoch need be better than the head, so what is trained is looked at on the way, with the head
    // of another job.
    let features = server.job_of("efficientnet_lite0_features", json!({})).await;
    assert_eq!(server.ended(&features).await["status"], "succeeded");
    let params = json!({ "epochs": 1000, "batch_size": 8, "head_from": features });
    let job = server.job_of(recipe, params).await;
    server.epoch(&job, 1).await;
    assert_eq!(server.post(&format!("/jobs/{job}/cancel"), Value::Null).await.0, 202);
    assert_eq!(server.ended(&job).await["status"], "cancelled");
    let checkpoints = Checkpoints::open(&server.folder(&job).join("checkpoints")).unwrap();
    let checkpoint = checkpoints.load(|_, _| ()).unwrap().unwrap();
    let shipped = EFFICIENTNET_LITE0.shipped().unwrap();
    let shipped = BaseWeights::shipped(&EFFICIENTNET_LITE0, shipped).unwrap().tensors;
    for (name, tensor) in &checkpoint.weights {
        if let Some(initial) = shipped.get(name) {
            assert_ne!(tensor, &initial.to_kind(tch::Kind::Float), "{name} was to be trained");
        }
    }
    let mut stages: Vec<_> = checkpoint
        .weights
        .keys()
        .filter(|name| name.ends_with(".weight"))
        .map(|name| name.split('_').next().unwrap().split('.').next().unwrap())
        .collect();
    stages.dedup();
    assert_eq!(stages, ["block5", "block6", "block7", "last", "output"]);
}

/// A head is taken from a job of the same base network only.
#[tokio::test]
async fn a_head_of_another_base_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    let features = server.job_of("efficientnet_lite0_features", json!({ "epochs": 1 })).await;
    server.ended(&features).await;
    let body = json!({ "recipe": "vgg16_finetune", "dataset": "pets", "params": { "head_from": features } });
    let (status, problem) = server.post("/jobs", body).await;
    assert_eq!((status, &problem["field"]), (422, &json!("params.head_from")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("vgg16_features"), "{problem}");
}
