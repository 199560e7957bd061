//! The recipes beyond the first, with real trainers: what they make, and how they survive.
#![cfg(target_os = "linux")]

use crate::common::{
    Server,
    process::{Process, kill},
    skip::skip,
    vgg16_weights,
};
use pawprint::{domain::recipe::Recipe, weights::checkpoint::Checkpoints};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

const TRAIN: u32 = 8;

fn params(more: Value) -> Value {
    let mut params =
        json!({ "epochs": 2, "batch_size": 8, "precision": "fp32", "device": "cpu", "seed": 7 });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

async fn supply_weights(server: &Process) {
    let request = server.request(Method::PUT, "/weights/vgg16");
    let response = request.body(vgg16_weights("torchvision_zip.pth")).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
}

/// Trains twice, undisturbed and killed after the first epoch, and wants the same weights.
async fn assert_survives(server: &Process, recipe: &str, params: &Value) {
    let undisturbed = server.job_of(recipe, params.clone()).await;
    let undisturbed = server.ended(&undisturbed).await;
    assert_eq!(undisturbed["status"], "succeeded", "{undisturbed}");
    let id = server.job_of(recipe, params.clone()).await;
    server.epoch(&id, 1).await;
    kill(Process::trainers(&id)[0], Signal::KILL);
    let killed = server.ended(&id).await;
    assert_eq!((&killed["status"], &killed["attempts"]), (&json!("succeeded"), &json!(2)));
    assert_eq!(server.epochs(&id).await, [1, 2]);
    let (ours, theirs) = (server.weights(&killed).await, server.weights(&undisturbed).await);
    assert!(ours == theirs, "{recipe}: the weights differ");
}

#[tokio::test]
async fn augmentation_and_dropout_are_drawn_the_same_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    assert_survives(
        &server,
        "augmented_cnn",
        &params(json!({ "learning_rate_schedule": "cosine" })),
    )
    .await;
}

#[tokio::test]
async fn vgg16_is_trained_on_its_features_and_fine_tuned_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    supply_weights(&server).await;

    let features = server.job_of("vgg16_features", params(json!({}))).await;
    let features = server.ended(&features).await;
    assert_eq!(features["status"], "succeeded", "{features}");
    let model = server.get(&format!("/models/{}", features["model_id"].as_str().unwrap())).await;
    assert_eq!(
        (&model["architecture"], &model["parameters"]),
        (&json!("vgg16"), &json!(17_992_001))
    );
    // The base is the one that was supplied, to the bit.
    let base = |weights: &[(String, Vec<u8>)], name: &str| {
        weights.iter().find(|(other, _)| other == name).unwrap().1.clone()
    };
    let of_features = server.weights(&features).await;

    let name = features["name"].as_str().unwrap();
    let tuned = params(json!({ "head_from": name, "learning_rate": 1e-5 }));
    assert_survives(&server, "vgg16_finetune", &tuned).await;
    let jobs = server.get("/jobs?recipe=vgg16_finetune").await;
    let job = &jobs["items"][0];
    assert_eq!(job["params"]["head_from"], features["id"]);
    // It begins with the head, so it can't be worse.
    let loss = |job: &Value| job["best"]["val_loss"].as_f64().unwrap();
    assert!(loss(job) <= loss(&features) + 1e-6, "{job} after {features}");
    let of_tuned = server.weights(job).await;
    for layer in ["block1_conv1.weight", "block4_conv3.bias"] {
        assert!(base(&of_features, layer) == base(&of_tuned, layer), "{layer} was to stay frozen");
    }
    // No epoch need be better than the head, so what is trained is looked at on the way: block 5,
    // and nothing below it.
    let tuned = params(json!({ "head_from": name, "learning_rate": 1e-4, "epochs": 1000 }));
    let tuned = server.job_of("vgg16_finetune", tuned).await;
    server.epoch(&tuned, 1).await;
    assert_eq!(server.post(&format!("/jobs/{tuned}/cancel"), Value::Null).await.0, 202);
    assert_eq!(server.ended(&tuned).await["status"], "cancelled");
    let checkpoints = Checkpoints::open(&server.folder(&tuned).join("checkpoints")).unwrap();
    let checkpoint = checkpoints.load(|_, _| ()).unwrap().unwrap();
    for (layer, tensor) in &checkpoint.weights {
        let mut bytes = vec![0; tensor.numel() * 4];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        assert!(bytes != base(&of_features, layer), "{layer} was to be trained");
    }
    let layers: Vec<_> = checkpoint.weights.keys().map(|name| &name[..6]).collect();
    assert_eq!(layers, [&["block5"; 6][..], &["hidden"; 2], &["output"; 2]].concat());

    // A model of this architecture answers like any other.
    let photo = crate::common::photo(1);
    let request = server.request(Method::POST, &format!("/predict?model={name}"));
    let response = request.header("content-type", "image/png").body(photo).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
}

/// With small steps both devices stay near the weights they begin with, so that their losses can be
/// compared although they round and drop out differently.
#[tokio::test]
async fn on_a_gpu_every_recipe_comes_to_what_it_comes_to_on_the_processor() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let system = server.get("/system").await;
    if !system["devices"].as_array().unwrap().contains(&json!("cuda")) {
        skip("there is no GPU");
        return;
    }
    server.pets(TRAIN).await;
    supply_weights(&server).await;
    let mut head = String::new();
    for recipe in Recipe::ALL {
        let mut losses = Vec::new();
        for (device, precision) in [("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "bf16")] {
            let mut more = json!({ "device": device, "precision": precision });
            if recipe.takes_steps() {
                more["learning_rate"] = json!(1e-6);
            }
            if matches!(recipe, Recipe::FineTuning(_)) {
                more["head_from"] = json!(head);
            }
            let job = server.job_of(recipe.as_str(), params(more)).await;
            let job = server.ended(&job).await;
            assert_eq!(job["status"], "succeeded", "{job}");
            assert_eq!((&job["device"], &job["precision"]), (&json!(device), &json!(precision)));
            losses.push(job["best"]["val_loss"].as_f64().unwrap());
            if matches!(recipe, Recipe::Features(_)) {
                head = job["id"].as_str().unwrap().to_owned();
            }
        }
        let near = |other: f64| (other - losses[0]).abs() < 0.02 * losses[0].max(1.0);
        assert!(losses.iter().all(|&loss| near(loss)), "{recipe}: {losses:?}");
    }
}

#[tokio::test]
async fn a_head_of_its_own_is_trained_first_and_survives_with_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    supply_weights(&server).await;
    assert_survives(&server, "vgg16_finetune", &params(json!({ "head_epochs": 2 }))).await;
}

#[tokio::test]
async fn fine_tuning_that_is_stopped_while_its_head_is_trained_keeps_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    supply_weights(&server).await;
    let params = params(json!({ "head_epochs": 10_000 }));
    let id = server.job_of("vgg16_finetune", params).await;
    server
        .event(&id, |kind, data| {
            let training = kind == "progress" && data["phase"] == "training_head";
            (training && data["epoch"].as_u64() > Some(2)).then_some(())
        })
        .await;
    assert_eq!(server.post(&format!("/jobs/{id}/stop"), Value::Null).await.0, 202);
    let job = server.ended(&id).await;
    assert_eq!((&job["status"], &job["best"]["epoch"]), (&json!("succeeded"), &json!(0)), "{job}");
    assert!(server.epochs(&id).await.is_empty());
}

#[tokio::test]
async fn a_head_is_only_taken_from_a_job_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    supply_weights(&server).await;
    let scratch = server.job(params(json!({ "epochs": 1 }))).await;
    server.ended(&scratch).await;
    for (head_from, words) in
        [("nobody", "there is no job"), (&*scratch, "does not use the recipe")]
    {
        let body = json!({ "recipe": "vgg16_finetune", "dataset": "pets", "params": { "head_from": head_from } });
        let (status, problem) = server.post("/jobs", body).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_value")), "{problem}");
        assert_eq!(problem["field"], "params.head_from");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    let body =
        json!({ "recipe": "scratch_cnn", "dataset": "pets", "params": { "head_epochs": 3 } });
    let (status, problem) = server.post("/jobs", body).await;
    assert_eq!((status, &problem["field"]), (422, &json!("params.head_epochs")));
}

#[tokio::test]
async fn an_evaluation_agrees_with_itself_and_has_its_charts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(params(json!({}))).await;
    let job = server.ended(&id).await;
    let evaluation = server.get(&format!("/jobs/{id}/evaluation")).await;
    let model = server.get(&format!("/models/{}", job["model_id"].as_str().unwrap())).await;
    assert_eq!(evaluation["accuracy"], model["test_accuracy"]);
    assert_eq!((&evaluation["split"], &evaluation["count"]), (&json!("test"), &json!(TRAIN)));
    let matrix: Vec<Vec<u64>> =
        serde_json::from_value(evaluation["confusion_matrix"]["matrix"].clone()).unwrap();
    let right = (matrix[0][0] + matrix[1][1]) as f64 / f64::from(TRAIN);
    assert_eq!(evaluation["accuracy"].as_f64().unwrap(), right);
    let misclassified = evaluation["misclassified"].as_array().unwrap();
    assert_eq!(misclassified.len() as u64, matrix[0][1] + matrix[1][0]);
    for wrong in misclassified {
        assert!(wrong["file_name"].as_str().unwrap().contains(".png"), "{wrong}");
    }
    for field in ["report", "pr_curve", "roc_curve", "calibration", "accuracy_interval"] {
        assert!(evaluation[field].is_object(), "{field}");
    }
    for chart in ["accuracy", "loss", "confusion", "pr", "roc", "reliability"] {
        let request = server.request(Method::GET, &format!("/jobs/{id}/charts/{chart}.svg"));
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "image/svg+xml", "{chart}");
        assert!(response.text().await.unwrap().starts_with("<svg "), "{chart}");
    }
    let (status, _) = server.ask(Method::GET, &format!("/jobs/{id}/charts/cake.svg"), None).await;
    assert_eq!(status, 404);

    let report = folder.path().join("report.html");
    let pawprint = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pawprint"))
            .args(arguments)
            .env("PAWPRINT_SERVER", format!("http://{}", server.address()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(pawprint(&["evaluate", &id]).contains("f1-score"));
    pawprint(&["report", &id, "--out", report.to_str().unwrap()]);
    let page = std::fs::read_to_string(report).unwrap();
    assert_eq!(
        page.matches("<svg ").count(),
        10,
        "four of the dataset, two curves, four of the evaluation"
    );
    assert!(!page.contains("src=\"http"), "the page needs nothing else");
    assert!(page.contains(" test images (95% CI "), "the result stands first");
    assert!(!page.contains("The dataset has changed since"));
}

#[tokio::test]
async fn a_job_is_not_evaluated_before_it_has_come_so_far() {
    let server = Server::start().await;
    server.get("/jobs/nobody/evaluation").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_sheet_shows_the_augmentation() {
    let server = Server::start().await;
    server.pets().await;
    server.get("/datasets/pets/augmentations").await.problem(422, "invalid_value");
    server
        .post("/datasets/pets/archive", crate::common::tar(&crate::common::process::photos(2)))
        .await
        .ok();
    let sheet = async |query: &str| {
        let answer = server.get(&format!("/datasets/pets/augmentations{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        image::load_from_memory(&answer.body).unwrap().to_rgb8()
    };
    let nine = sheet("").await;
    assert_eq!((nine.width(), nine.height()), (548, 548));
    assert_eq!(nine, sheet("?count=9&seed=0").await);
    assert_ne!(nine, sheet("?seed=1").await);
    assert_eq!(sheet("?count=2").await.dimensions(), (364, 180));
    for query in ["?count=0", "?count=101"] {
        let answer = server.get(&format!("/datasets/pets/augmentations{query}")).await;
        answer.problem(422, "invalid_value");
    }
    for chart in ["classes", "width", "height", "formats"] {
        let answer = server.get(&format!("/datasets/pets/charts/{chart}.svg")).await;
        assert_eq!(answer.headers["content-type"], "image/svg+xml");
    }
    server.get("/datasets/pets/charts/cake.svg").await.problem(404, "not_found");
}
