//! Programs of others against this server: Triton's Python client speaks to `/v2`.
//!
//! What they need is fetched once, into a folder of the build. Where it can't be, the test says so
//! and passes; with `CI=true` it fails.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

mod common;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use common::{photo, process::Process, skip::skip};
use serde_json::json;

const REQUIREMENTS: &str = include_str!("clients/requirements.txt");

/// Runs a command to its end; what it printed, or what it complained of.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&said).trim()))
}

/// A Python that has the clients.
fn python() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(folder.join("clients.lock")).unwrap();
    lock.lock().unwrap();
    let environment = folder.join("clients");
    let (python, installed) =
        (environment.join("bin/python"), environment.join("requirements.txt"));
    if fs::read_to_string(&installed).is_ok_and(|text| text == REQUIREMENTS)
        && run(Command::new(&python).args(["-c", "import tritonclient.http"])).is_ok()
    {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--only-binary=:all:", "--retries", "1", "--timeout", "30", "--requirement"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/requirements.txt")))?;
    fs::write(installed, REQUIREMENTS).unwrap();
    Ok(python)
}

#[tokio::test]
async fn tritons_client_works() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            let required = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(!required, "Triton's client could not be fetched: {why}");
            skip(format_args!("Triton's client could not be fetched: {why}"));
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    let job = server.job(json!({ "epochs": 1, "batch_size": 8, "seed": 1 })).await;
    let job = server.ended(&job).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    drop(server);

    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.env("PAWPRINT_API_TOKEN", "s3cret");
    let server = Process::spawn(&mut command, folder.path());
    let photos = [1, 2, 3].map(|number| {
        let path = folder.path().join(format!("{number}.jpg"));
        fs::write(&path, photo(number)).unwrap();
        path
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/triton.py");
    let mut command = Command::new(python);
    command.arg(script).args([server.address(), "s3cret"]).args(photos);
    let ran = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    let labels = ran.unwrap();
    assert_eq!(labels.lines().count(), 3, "{labels}");
}
