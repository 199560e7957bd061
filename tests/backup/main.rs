//! Backups of a server that goes on, and data directories out of them: whole, or not at all, and
//! what is missing is told.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

mod damage;
mod make;
mod restore;
mod running;

#[path = "../common/mod.rs"]
mod common;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use common::{Server, data::close, photo, tar};
use pawprint::maintenance::doctor::{self, Code, Finding};

fn pawprint(arguments: &[&str], paths: [&Path; 2]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    let [folder, data_dir] = paths;
    command.args(arguments).arg(folder).arg("--data-dir").arg(data_dir).stdin(Stdio::null());
    command
}

#[track_caller]
fn success(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The complaint of a command that must fail.
#[track_caller]
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn back_up(data_dir: &Path, to: &Path) -> Output {
    pawprint(&["backup"], [to, data_dir]).output().unwrap()
}

fn restore(from: &Path, data_dir: &Path) -> Output {
    pawprint(&["restore"], [from, data_dir]).output().unwrap()
}

/// A data directory with that many photos of `pets`, without a server.
async fn photos(count: u32) -> tempfile::TempDir {
    let server = Server::start().await;
    server.pets().await;
    let label = |number| if number % 2 == 0 { "cat" } else { "dog" };
    let split = |number| if number % 4 < 2 { "train" } else { "validation" };
    let names: Vec<_> =
        (0..count).map(|it| format!("{}/{}/{it}.jpg", split(it), label(it))).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip((0..).map(photo)).collect();
    let report = server.post("/datasets/pets/archive", tar(&files)).await.ok();
    assert_eq!(report["added"], count);
    close(server).await
}

/// What the doctor finds, but for how much room the disk of this machine has.
async fn findings(root: &Path) -> Vec<Finding> {
    let mut report = doctor::run(root, false, &mut |_, _| {}).await.unwrap();
    report.findings.retain(|it| it.code != Code::LowSpace);
    report.findings
}

async fn assert_healthy(root: &Path) {
    assert!(findings(root).await.is_empty());
}

#[tokio::test]
async fn wrong_usage_is_refused() {
    for arguments in [
        &["backup"][..],
        &["restore"],
        &["backup", "a", "b"],
        &["backup", "a", "--server", "http://x"],
        &["restore", "a", "--no-such-flag"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_pawprint")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
