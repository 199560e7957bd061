//! What is wrong in a data directory is found and named, and a repair loses nothing.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

mod database;
mod files;
mod images;
mod use_of_it;

#[path = "../common/mod.rs"]
mod common;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use common::{
    Server,
    data::{close, execute, images, waiting_job},
    process::photos,
    tar, vgg16_weights,
};
use pawprint::{
    domain::ModelId,
    model_file,
    registry::embedded,
    storage::{models, upkeep},
};
use serde_json::Value;
use sqlx::SqliteConnection;

/// A data directory in which everything is right: photos, a job in the queue that has a state to
/// go on from, and a model of its own beside the one in the binary. No server runs.
struct Healthy {
    folder: tempfile::TempDir,
    /// Its folder.
    job: PathBuf,
    model: ModelId,
}

impl Healthy {
    async fn new() -> Self {
        let server = Server::start().await;
        server.pets().await;
        server.post("/datasets/pets/archive", tar(&photos(4))).await.ok();
        let weights = vgg16_weights("torchvision_zip.pth");
        let request = axum::http::Request::put("/weights/vgg16").body(weights.into()).unwrap();
        server.send(request).await.ok();
        let job = waiting_job(&server).await;
        let model = add_model(&server).await;
        Self { folder: close(server).await, job, model }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn model_file(&self) -> PathBuf {
        self.root().join(format!("models/{}.safetensors", self.model))
    }

    /// The files of images, in the order of their hashes.
    fn images(&self) -> Vec<PathBuf> {
        images(self.root())
    }

    async fn execute(&self, sql: &'static str) {
        execute(self.root(), sql).await;
    }

    async fn database(&self) -> SqliteConnection {
        upkeep::open(&self.root().join("pawprint.sqlite")).await.unwrap()
    }

    /// What is found, by its kind; makes sure that the exit code says whether something is wrong.
    #[track_caller]
    fn findings(&self) -> HashMap<String, Value> {
        findings(&doctor(self.root(), &["--json"]))
    }

    #[track_caller]
    fn repair(&self) -> HashMap<String, Value> {
        findings(&doctor(self.root(), &["--json", "--repair"]))
    }
}

/// The model in the binary once more, under another name.
async fn add_model(server: &Server) -> ModelId {
    let (mut card, weights) = embedded::model().unwrap();
    (card.id, card.name) = (ModelId::new(), "mine".parse().unwrap());
    model_file::save(&server.app.data_dir.model(card.id), &card, &weights).unwrap();
    let mut transaction = server.app.storage.write().await.unwrap();
    models::insert(&mut transaction, &card, 1).await.unwrap();
    models::pin(&mut transaction, Some(card.id)).await.unwrap();
    transaction.commit().await.unwrap();
    card.id
}

fn doctor(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.arg("doctor").args(arguments).arg("--data-dir").arg(root).output().unwrap()
}

#[track_caller]
fn findings(output: &Output) -> HashMap<String, Value> {
    assert!(output.stderr.is_empty(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let wrong = findings.iter().any(|it| it["severity"] != "note" && it["repaired"] == false);
    assert_eq!(output.status.code(), Some(i32::from(wrong)), "{report}");
    // How much room the disk of this machine has is not what is tested.
    let findings = findings.iter().filter(|it| it["code"] != "low_space");
    findings.map(|it| (it["code"].as_str().unwrap().to_owned(), it.clone())).collect()
}

#[track_caller]
fn codes(findings: &HashMap<String, Value>) -> Vec<&str> {
    findings.keys().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Makes sure that all files of `before` are still there, be it under `damaged/`.
#[track_caller]
fn assert_nothing_lost(root: &Path, before: &[Vec<u8>]) {
    let after: BTreeSet<_> = contents(root).into_iter().collect();
    for file in before {
        assert!(after.contains(file), "a file of {} bytes is gone", file.len());
    }
}

/// The content of every file but the database.
fn contents(root: &Path) -> Vec<Vec<u8>> {
    let files = walkdir::WalkDir::new(root).into_iter().flatten();
    files
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with("pawprint.sqlite"))
        .map(|entry| fs::read(entry.path()).unwrap())
        .collect()
}
