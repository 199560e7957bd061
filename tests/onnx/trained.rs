//! ONNX Runtime's answers beside ours, for models of each recipe that were trained on real photos.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    common::{process::Process, skip::real_data, tar},
    runtime,
};

/// The recipes, with parameters that keep training short.
fn recipes() -> [(&'static str, Value); 6] {
    [
        ("scratch_cnn", json!({ "epochs": 3 })),
        ("augmented_cnn", json!({ "epochs": 3 })),
        ("efficientnet_lite0_features", json!({})),
        ("efficientnet_lite0_finetune", json!({ "epochs": 1 })),
        ("vgg16_features", json!({ "epochs": 3 })),
        ("vgg16_finetune", json!({ "epochs": 1, "head_epochs": 3 })),
    ]
}

/// Photos of each class and split of a folder, evenly.
fn photos(folder: &Path, of_each: usize) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for split in ["train", "validation", "test"] {
        for class in fs::read_dir(folder.join(split)).unwrap().map(|it| it.unwrap().path()) {
            let mut files: Vec<PathBuf> =
                fs::read_dir(&class).unwrap().map(|it| it.unwrap().path()).collect();
            files.sort();
            let step = (files.len() / of_each).max(1);
            for path in files.iter().step_by(step).take(of_each) {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                all.push((name, fs::read(path).unwrap()));
            }
        }
    }
    all
}

/// Trains every recipe on the dataset and compares the exported models on the photos of `tried`.
async fn compare(
    server: &Process,
    python: &Path,
    dataset: &str,
    photos: &[(String, Vec<u8>)],
    tried: Arc<[PathBuf]>,
) {
    assert_eq!(server.post("/datasets", json!({ "name": dataset })).await.0, 201);
    let files: Vec<_> = photos.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let archive = format!("/datasets/{dataset}/archive");
    let sent = server.request(Method::POST, &archive).body(tar(&files)).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    let folder = tempfile::tempdir().unwrap();
    for (recipe, params) in recipes() {
        let job = json!({ "recipe": recipe, "dataset": dataset, "params": params });
        let (status, job) = server.post("/jobs", job).await;
        assert_eq!(status, 202, "{recipe}: {job}");
        let job = server.ended(job["id"].as_str().unwrap()).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        let path = format!("/models/{}/download", job["model_id"].as_str().unwrap());
        let file = server.request(Method::GET, &path).send().await.unwrap().bytes().await.unwrap();
        let model = folder.path().join(format!("{recipe}.safetensors"));
        fs::write(&model, file).unwrap();
        let (python, name) = (python.to_owned(), format!("{recipe}, trained on {dataset}"));
        let tried = Arc::clone(&tried);
        // A probability that is 0.02 from the threshold leads by twice that.
        let compared = move || runtime::compare(&python, &model, &name, &tried, 0.04);
        tokio::task::spawn_blocking(compared).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_each_recipe_trained_on_two_and_on_six_classes_answer_the_same() {
    let Some((python, data)) = runtime::python().zip(real_data()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let weights = data.join("vgg16-standin.safetensors");
    let mut import = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    import.args(["weights", "import"]).arg(weights).args(["--server", server.url()]);
    let done = tokio::task::spawn_blocking(move || import.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{done:?}");
    let enlarged = tempfile::tempdir().unwrap();
    let tried: Arc<[PathBuf]> = runtime::photos(enlarged.path()).into();
    let (pets, waste) =
        (photos(&data.join("dogs-vs-cats"), 40), photos(&data.join("trashnet"), 16));
    compare(&server, &python, "pets", &pets, Arc::clone(&tried)).await;
    compare(&server, &python, "waste", &waste, tried).await;
}
