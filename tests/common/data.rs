//! Data directories without a server, for what is tested on their files.
#![allow(clippy::panic, reason = "a test that can't go on may stop there")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use pawprint::{
    storage::upkeep,
    weights::{
        checkpoint::{Checkpoint, Checkpoints, TrainingState},
        tensors::Tensors,
    },
};
use serde_json::json;

use super::Server;

/// Ends a server and keeps its data directory.
pub async fn close(server: Server) -> tempfile::TempDir {
    let Server { app, router, folder } = server;
    drop(router);
    app.storage.close().await;
    drop(app);
    folder
}

/// The files of images in a data directory or a backup, in the order of their hashes.
pub fn images(root: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(root.join("blobs")).min_depth(2).sort_by_file_name();
    let files = files.into_iter().flatten().map(walkdir::DirEntry::into_path);
    files.filter(|path| path.extension().is_none()).collect()
}

/// Runs SQL on the database of a data directory.
pub async fn execute(data_dir: &Path, sql: &'static str) {
    let mut connection = upkeep::open(&data_dir.join("pawprint.sqlite")).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    upkeep::close(connection).await.unwrap();
}

/// Puts the job `waiting` into the queue of a server that runs none, with a state to go on from;
/// gives its folder.
pub async fn waiting_job(server: &Server) -> PathBuf {
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets", "name": "waiting" });
    let job = server.json("POST", "/jobs", job).await.ok()["id"].as_str().unwrap().to_owned();
    let folder = server.folder.path().join("jobs").join(job);
    let checkpoints = Checkpoints::open(&folder.join("checkpoints")).unwrap();
    for epoch in [1, 2] {
        checkpoints.save(&checkpoint(epoch)).unwrap();
    }
    folder
}

/// Cuts the checkpoint of an epoch in half.
pub fn damage_checkpoint(job: &Path, epoch: u32) {
    let path = job.join(format!("checkpoints/{epoch:05}-000000000.safetensors"));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
}

fn checkpoint(epoch: u32) -> Checkpoint {
    let tensors = || Tensors::from([("w".to_owned(), tch::Tensor::from_slice(&[1.0_f32]))]);
    let mut state = TrainingState::default();
    state.epoch = epoch;
    Checkpoint { state, weights: tensors(), optimizer: tensors(), best_weights: Tensors::new() }
}
