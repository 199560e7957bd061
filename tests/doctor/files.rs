//! Jobs, models, weights and unreferenced files.

use std::{fs, time::Duration};

use pawprint::{
    domain::{JobId, ModelId, dataset::Digest},
    weights::checkpoint::Checkpoints,
};
use serde_json::Value;

use super::{
    Healthy, assert_nothing_lost, codes,
    common::{data::damage_checkpoint, process::Process},
    contents,
};

#[tokio::test]
async fn a_job_that_can_not_go_on_is_named_with_what_it_lacks() {
    for (damage, code, says) in [
        (["spec.json", "{"], "job_spec", "its spec.json can't be read"),
        (["manifest.jsonl", "{"], "job_manifest", "its manifest.jsonl can't be read"),
        (["manifest.jsonl", ""], "job_manifest", "is not the dataset version"),
        (["vgg16.safetensors", "x"], "job_weights", "the VGG16 weights it began with"),
    ] {
        let healthy = Healthy::new().await;
        fs::write(healthy.job.join(damage[0]), damage[1]).unwrap();
        let before = contents(healthy.root());
        for found in [healthy.findings(), healthy.repair()] {
            assert_eq!(codes(&found), [code]);
            let detail = found[code]["detail"].as_str().unwrap();
            assert!(detail.starts_with("job waiting: ") && detail.contains(says), "{detail}");
        }
        assert_nothing_lost(healthy.root(), &before);
    }
    let healthy = Healthy::new().await;
    fs::remove_dir_all(&healthy.job).unwrap();
    assert_eq!(codes(&healthy.findings()), ["job_folder_missing"]);
}

#[tokio::test]
async fn a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used() {
    let healthy = Healthy::new().await;
    let folder = healthy.job.join("checkpoints");
    damage_checkpoint(&healthy.job, 2);
    let before = contents(healthy.root());
    let found = healthy.findings();
    assert_eq!(codes(&found), ["checkpoint_damaged"]);
    let detail = found["checkpoint_damaged"]["detail"].as_str().unwrap();
    assert!(detail.contains("the one before it is used"), "{detail}");
    assert_eq!(healthy.repair()["checkpoint_damaged"]["repaired"], true);
    assert_nothing_lost(healthy.root(), &before);
    assert_eq!(codes(&healthy.findings()), ["set_aside"]);
    let loaded = Checkpoints::open(&folder).unwrap().load(|_, error| panic!("{error}")).unwrap();
    assert_eq!(loaded.unwrap().state.epoch, 1);
}

#[tokio::test]
async fn models_that_are_missing_damaged_or_drifted_are_told_apart() {
    let healthy = Healthy::new().await;
    let path = healthy.model_file();
    let whole = fs::read(&path).unwrap();
    let before = contents(healthy.root());
    // Its numbers are others: only what it says of the canary images shows it.
    let mut drifted = whole.clone();
    let length = drifted.len();
    drifted[length - 400_000..].fill(0x11);
    fs::write(&path, drifted).unwrap();
    assert_eq!(codes(&healthy.repair()), ["model_unusable", "pinned_model"]);
    assert!(path.exists(), "it may be the program that has changed");

    // The file of another model.
    let models = fs::read_dir(healthy.root().join("models")).unwrap();
    let default = models.map(|it| it.unwrap().path()).find(|it| *it != path).unwrap();
    fs::copy(default, &path).unwrap();
    let found = healthy.findings();
    assert!(
        found["model_unusable"]["detail"].as_str().unwrap().contains("is that of model default")
    );

    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(codes(&healthy.repair()), ["model_damaged", "pinned_model"]);
    assert!(!path.exists());
    let found = healthy.repair();
    assert_eq!(codes(&found), ["model_missing", "pinned_model", "set_aside"]);
    let advice = found["model_missing"]["advice"].as_str().unwrap();
    assert!(advice.contains("copy the file out of a backup"), "{advice}");
    // Its row stays: with its file it answers again.
    fs::write(&path, whole).unwrap();
    assert_eq!(codes(&healthy.findings()), ["set_aside"]);
    assert_nothing_lost(healthy.root(), &before);
    let server = Process::start(healthy.root());
    assert_eq!(server.get("/models/current").await["name"], "mine");
}

#[tokio::test]
async fn damaged_weights_are_set_aside_and_can_be_supplied_again() {
    let healthy = Healthy::new().await;
    let path = healthy.root().join("weights/vgg16.safetensors");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(codes(&healthy.findings()), ["weights_damaged"]);
    assert_eq!(healthy.repair()["weights_damaged"]["repaired"], true);
    assert_eq!(
        fs::read(healthy.root().join("damaged/weights/vgg16.safetensors")).unwrap().len(),
        whole.len() - 1
    );
    assert!(!path.exists());
}

#[tokio::test]
async fn unreferenced_files_are_counted_and_removed_only_where_nothing_is_in_doubt() {
    let healthy = Healthy::new().await;
    let old = std::time::SystemTime::now() - Duration::from_secs(7_200);
    let digest = Digest::of(b"meow").to_string();
    let blob = healthy.root().join(format!("blobs/{}/{digest}", &digest[..2]));
    let model = healthy.root().join(format!("models/{}.safetensors", ModelId::new()));
    let young = healthy.root().join(format!("models/{}.safetensors", ModelId::new()));
    let upload = healthy.root().join("tmp/upload");
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    for path in [&blob, &model, &young, &upload] {
        fs::write(path, b"meow").unwrap();
    }
    let job = healthy.root().join(format!("jobs/{}", JobId::new()));
    fs::create_dir(&job).unwrap();
    // A model that automatic selection does not serve is a model all the same.
    healthy.execute("UPDATE models SET selected = 0 WHERE name = 'mine'").await;
    let mine = healthy.model_file();
    for path in [&model, &job, &mine] {
        fs::File::open(path).unwrap().set_modified(old).unwrap();
    }
    // The model that a job is about to make, whose outcome was not saved yet.
    let spec: Value =
        serde_json::from_slice(&fs::read(healthy.job.join("spec.json")).unwrap()).unwrap();
    let made =
        healthy.root().join(format!("models/{}.safetensors", spec["model_id"].as_str().unwrap()));
    fs::write(&made, b"x").unwrap();
    fs::File::open(&made).unwrap().set_modified(old).unwrap();

    assert_eq!(codes(&healthy.findings()), ["unreferenced"]);
    let manifest = healthy.job.join("manifest.jsonl");
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, b"{").unwrap();
    healthy.repair();
    assert!(blob.exists() && model.exists() && job.exists());
    fs::write(&manifest, whole).unwrap();

    assert_eq!(codes(&healthy.repair()), ["unreferenced"]);
    assert!(!blob.exists() && !model.exists() && !job.exists() && !upload.exists());
    assert!(young.exists() && made.exists() && mine.exists());
    assert_eq!(codes(&healthy.findings()), Vec::<&str>::new());
}
