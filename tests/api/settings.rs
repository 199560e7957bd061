//! Settings from a file, the environment and flags, as `pawprint config` shows them and as
//! `pawprint serve` uses them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::common::process::Process;
use serde_json::{Value, json};

const FILE: &str = r#"# Ours.
listen = "127.0.0.1:0"
max-running-jobs = 2
queue_capacity = 5
allow-anonymous = true
allowed-hosts = ["pets.example.org", "b.example"]
max-uploads = 3
"#;

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("pawprint.toml");
    fs::write(&path, text).unwrap();
    path
}

/// The program without settings from elsewhere.
fn pawprint(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PAWPRINT_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The settings that a command prints as JSON.
#[track_caller]
fn settings(ran: &Output) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&ran.stdout).unwrap();
    document["settings"].as_array().unwrap().clone()
}

#[track_caller]
fn setting(ran: &Output, name: &str) -> Value {
    let settings = settings(ran);
    settings.iter().find(|setting| setting["name"] == name).unwrap().clone()
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), FILE);
    let path = path.to_str().unwrap();
    let mut command = pawprint(&["config", "--json", "--config", path, "--max-running-jobs", "4"]);
    let ran = command
        .env("PAWPRINT_MAX_RUNNING_JOBS", "3")
        .env("PAWPRINT_QUEUE_CAPACITY", "7")
        .env("PAWPRINT_API_TOKEN", "s3cret")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    for expected in [
        json!({ "name": "max-running-jobs", "value": 4, "origin": "flag" }),
        json!({ "name": "queue-capacity", "value": 7, "origin": "environment", "variable": "PAWPRINT_QUEUE_CAPACITY" }),
        json!({ "name": "max-uploads", "value": 3, "origin": "file", "file": path, "line": 7 }),
        json!({ "name": "allow-anonymous", "value": true, "origin": "file", "file": path, "line": 5 }),
        json!({ "name": "allowed-hosts", "value": ["pets.example.org", "b.example"], "origin": "file", "file": path, "line": 6 }),
        json!({ "name": "log-format", "value": "text", "origin": "default" }),
        json!({ "name": "memory-budget", "value": null, "origin": "default" }),
        json!({ "name": "cors-origins", "value": [], "origin": "default" }),
    ] {
        assert_eq!(setting(&ran, expected["name"].as_str().unwrap()), expected);
    }
    assert!(!text(&ran.stdout).contains("s3cret"));
    assert!(text(&ran.stdout).contains("********"));
}

#[test]
fn every_option_of_the_server_is_a_setting_that_is_shown() {
    let help = text(&pawprint(&["serve", "--help"]).output().unwrap().stdout);
    let ran = pawprint(&["config", "--json"]).output().unwrap();
    let shown: Vec<_> =
        settings(&ran).iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    let mut options = Vec::new();
    for line in help.lines() {
        let Some(rest) = line.trim_start().trim_start_matches("-h, ").strip_prefix("--") else {
            continue;
        };
        let name: String = rest.chars().take_while(|c| !c.is_whitespace()).collect();
        if !["config", "help"].contains(&&*name) {
            options.push(name);
        }
    }
    assert!(options.len() > 20, "{help}");
    assert_eq!(shown, options);
}

#[test]
fn a_table_shows_the_value_and_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "listen = \"127.0.0.1:9000\"\napi-token = \"s3cret\"\n");
    let ran = pawprint(&["config"]).env("PAWPRINT_CONFIG", &path).output().unwrap();
    let table = text(&ran.stdout);
    let row = |name: &str| {
        let row = table.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        row.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("listen"), ["listen", "127.0.0.1:9000", &format!("{}:1", path.display())]);
    assert_eq!(row("api-token"), ["api-token", "********", &format!("{}:2", path.display())]);
    assert_eq!(row("tls-key"), ["tls-key", "-", "default"]);
    assert!(!table.contains("s3cret"));
}

#[test]
fn settings_that_a_server_would_not_start_with_are_shown_and_then_refused() {
    let ran = pawprint(&["config", "--listen", "0.0.0.0:80"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stdout).contains("0.0.0.0:80"));
    assert!(text(&ran.stderr).contains("no API token is set"));
}

#[test]
fn a_file_that_can_not_be_used_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.toml");
    for (path, said) in [
        (none, "No such file"),
        (folder.path().to_owned(), "directory"),
        (
            file(folder.path(), "\n\nmax-runing-jobs = 2"),
            "pawprint.toml:3: unknown setting `max-runing-jobs`; did you mean `max-running-jobs`?",
        ),
    ] {
        for command in ["serve", "config"] {
            let ran = pawprint(&[command, "--config"]).arg(&path).output().unwrap();
            assert_eq!(ran.status.code(), Some(2), "{command} {said}");
            assert!(text(&ran.stderr).contains(said), "{}", text(&ran.stderr));
            assert_eq!(text(&ran.stdout), "");
        }
    }
    // The other commands have their own options, and no file.
    let ran = pawprint(&["jobs", "--config", "x"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
}

#[test]
fn a_variable_that_is_no_setting_is_named() {
    let mut command = pawprint(&["config"]);
    command.env("PAWPRINT_MAX_UPLOAD", "3").env("PAWPRINT_MAX_UPLOADS", "3");
    let ran = command.output().unwrap();
    assert!(ran.status.success());
    let said = text(&ran.stderr);
    assert!(said.contains("PAWPRINT_MAX_UPLOAD is not a setting, and is ignored"), "{said}");
    assert!(!said.contains("PAWPRINT_MAX_UPLOADS"), "{said}");
}

#[tokio::test]
async fn the_largest_limits_are_no_limits_and_tokens_may_come_through_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("tokens");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::write(pipe, "s3cret\n").unwrap())
    };
    let data = folder.path().join("data");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    let most = usize::MAX.to_string();
    command.env("PAWPRINT_API_TOKEN_FILE", &pipe).env("PAWPRINT_RATE_LIMIT", "4294967295");
    command.env("PAWPRINT_MAX_UPLOADS", &most).env("PAWPRINT_QUEUE_CAPACITY", &most);
    command.env("PAWPRINT_MAX_CONNECTIONS", &most);
    let server = Process::spawn(&mut command, &data);
    writer.join().unwrap();
    let (status, _) = server.ask(reqwest::Method::GET, "/datasets", None).await;
    assert_eq!(status, 401);
    let request = server.request(reqwest::Method::GET, "/metrics").bearer_auth("s3cret");
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_server_uses_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("from-file");
    let text =
        format!("{FILE}data-dir = {:?}\napi-token = \"s3cret\"\n", data.display().to_string());
    let path = file(folder.path(), &text);
    let mut command = pawprint(&["serve"]);
    // Its listening address comes from the file: none is set.
    command.env("PAWPRINT_CONFIG", &path);
    let server = Process::try_run(&mut command, &data).unwrap();
    let health = server.get("/healthz").await;
    assert_eq!(health["status"], "ok");
    let (status, _) = server.ask(reqwest::Method::GET, "/datasets", None).await;
    assert_eq!(status, 401, "the token of the file");
    assert!(data.join("pawprint.sqlite").exists());
}
