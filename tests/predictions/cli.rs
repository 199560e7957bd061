//! `pawprint predictions`.

use std::process::Command;

use reqwest::Method;
use serde_json::Value;

use super::{
    common::{photo, process::Process},
    kills::{predict, start},
};

fn run(server: &Process, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.env("PAWPRINT_SERVER", server.url()).arg("predictions").args(arguments);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_are_listed_corrected_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    assert_eq!(run(&server, &[]), (0, "no matching predictions\n".to_owned()));
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(predict(&server, number).await.unwrap());
    }
    let (status, list) = run(&server, &["--limit", "2"]);
    assert!(status == 0 && list.contains(&ids[2]) && !list.contains(&ids[0]), "{list}");

    let row: Value = server.get(&format!("/predictions/{}", ids[0])).await;
    let label = row["label"].as_str().unwrap();
    let other = if label == "cat" { "dog" } else { "cat" };
    let said = run(&server, &["feedback", &ids[0], label]);
    assert_eq!(said, (0, format!("{}: confirmed as {label}\n", ids[0])));
    let said = run(&server, &["feedback", &ids[0], other]);
    assert_eq!(said, (0, format!("{}: {other}, not {label}\n", ids[0])));
    let (status, said) = run(&server, &["feedback", &ids[0], "bird"]);
    assert!(status == 1 && said.contains("`bird` is not a class"), "{said}");

    let (status, csv) = run(&server, &["export", "--contradicted", "--format", "csv"]);
    let lines: Vec<_> = csv.lines().collect();
    assert!(status == 0 && lines.len() == 2, "{csv}");
    assert!(lines[0].starts_with("id,created_at,model,file_name,label"), "{csv}");
    assert!(lines[1].starts_with(&ids[0]) && lines[1].contains(&format!(",{other},")), "{csv}");
    let (_, documents) = run(&server, &["export"]);
    let documents: Vec<Value> =
        documents.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[2]["feedback"]["label"], other);

    assert_eq!(
        run(&server, &["feedback", &ids[0], "--withdraw"]),
        (0, format!("{}: feedback withdrawn\n", ids[0]))
    );
    let (_, drift) = run(&server, &["drift", "--hours", "1"]);
    assert!(drift.contains("default, 3 predictions in 1 h: Too few predictions to say"), "{drift}");
    assert_eq!(run(&server, &["delete", &ids[0]]).0, 0);
    let (status, said) = run(&server, &["delete", &ids[0]]);
    assert!(status == 1 && said.contains("there is no prediction"), "{said}");

    // A name that a client sent is no formula in a spreadsheet.
    let named = server.request(Method::POST, "/predict?name=%3D1%2B1").body(photo(9));
    assert_eq!(named.send().await.unwrap().status(), 200);
    let (_, csv) = run(&server, &["export", "--format", "csv"]);
    assert!(csv.contains(",'=1+1,"), "{csv}");
    let (_, documents) = run(&server, &["export"]);
    assert!(documents.contains(r#""file_name":"=1+1""#), "{documents}");
}
