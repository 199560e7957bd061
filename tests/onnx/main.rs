//! Models as ONNX files: what the server and the command line write, and what ONNX Runtime answers with
//! it beside Pawprint itself.
//!
//! ONNX Runtime runs in the Python that `ONNX_PYTHON` names; `make onnx-test` makes one. Where
//! it is not set, those tests say so and are skipped.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![expect(clippy::print_stdout, reason = "how far answers lie apart is worth reading")]
#![expect(unreachable_pub, reason = "the parts of a test are modules")]

#[path = "../common/mod.rs"]
mod common;
mod models;
mod runtime;
#[cfg(target_os = "linux")]
mod trained;

use std::{fs, path::Path, process::Command};

use common::{Server, photo};
use pawprint::onnx::{self, Input};
use serde_json::json;

fn exported(model: &Path, input: Input) -> Vec<u8> {
    let mut bytes = Vec::new();
    onnx::export(model, None, input).unwrap().write_to(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_model_is_exported_under_its_name_with_its_thresholds_as_they_are_set() {
    let server = Server::start().await;
    let model = server.get("/models/default").await.ok();
    let path = server.app.data_dir.model(serde_json::from_value(model["id"].clone()).unwrap());
    for (query, input) in [
        ("format=onnx", Input::Image),
        ("format=onnx&input=image", Input::Image),
        ("format=onnx&input=tensor", Input::Tensor),
    ] {
        let answer = server.get(&format!("/models/default/export?{query}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"default.onnx\"");
        assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
        let mut expected = Vec::new();
        onnx::export(&path, None, input).unwrap().write_to(&mut expected).unwrap();
        assert!(answer.body == expected, "{query}: {} bytes", answer.body.len());
    }

    server.json("PATCH", "/models/default", json!({ "answer_above": 0.8125 })).await.ok();
    let answer = server.get("/models/default/export?format=onnx").await;
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains("0.8125"), "the new threshold is not in the file");
}

#[tokio::test]
async fn what_can_not_be_exported_says_why() {
    let server = Server::start().await;
    for (query, field, words) in [
        ("", "format", "format must be onnx, and is required"),
        ("?format=tflite", "format", "format must be onnx, not `tflite`"),
        ("?format=onnx&input=photo", "input", "input must be image or tensor, not `photo`"),
    ] {
        let answer = server.get(&format!("/models/default/export{query}")).await;
        let problem = answer.problem(422, "invalid_value");
        assert_eq!((&problem["field"], &problem["detail"]), (&json!(field), &json!(words)));
    }
    server.get("/models/nobody/export?format=onnx").await.problem(404, "not_found");

    let model = server.get("/models/default").await.ok();
    let path = server.app.data_dir.model(serde_json::from_value(model["id"].clone()).unwrap());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    server.get("/models/default/export?format=onnx").await.problem(500, "model_damaged");
}

#[test]
fn the_command_line_exports_a_model_file() {
    let saved = models::lite0();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        command.current_dir(folder.path()).arg("export").arg(&saved.path).args(arguments);
        command.output().unwrap()
    };
    let done = run(&["--onnx"]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(String::from_utf8_lossy(&done.stderr), "wrote model.onnx\n");
    let written = fs::read(folder.path().join("model.onnx")).unwrap();
    assert!(written == exported(&saved.path, Input::Image));

    assert!(run(&["--onnx", "--input", "tensor", "-o", "other"]).status.success());
    assert!(fs::read(folder.path().join("other")).unwrap() == exported(&saved.path, Input::Tensor));
    let done = run(&["--onnx", "--out", "-"]);
    assert!(done.stdout == written && done.stderr.is_empty());
    let names = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name());
    assert_eq!(names.count(), 2);

    assert_eq!(run(&[]).status.code(), Some(2));
    fs::write(folder.path().join("no.safetensors"), photo(1)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.current_dir(folder.path()).args(["export", "--onnx", "no.safetensors"]);
    let done = command.output().unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1));
    assert!(error.contains("no.safetensors is not a valid safetensors file"), "{error}");
    assert!(!folder.path().join("no.onnx").exists());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_command_line_exports_a_model_of_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = common::process::Process::start(&folder.path().join("data"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.current_dir(folder.path()).args(["export", "default", "--onnx", "--input", "tensor"]);
    command.args(["--server", server.url()]);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{done:?}");
    let request =
        server.request(reqwest::Method::GET, "/models/default/export?format=onnx&input=tensor");
    let bytes = request.send().await.unwrap().bytes().await.unwrap();
    assert!(fs::read(folder.path().join("default.onnx")).unwrap() == *bytes);
}
