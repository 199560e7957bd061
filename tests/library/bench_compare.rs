//! `make bench-compare`: where Pawprint lost speed relative to its peers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

/// A result of `make bench` on a machine where everything takes `machine` times as long, with a
/// Pawprint whose latency is `ours` times as long.
fn result(folder: &Path, name: &str, machine: f64, ours: f64) -> PathBuf {
    let row = |median: f64| json!([median * 0.9, median, median * 1.1]);
    let table = |title: &str, better: &str, rows: Value| {
        json!({
            "title": title, "unit": "", "better": better, "rows": rows, "left_out": {}, "notes": [],
        })
    };
    let result = json!({ "machine": {}, "tables": [
        { "title": "limits", "lines": [["", "1 thread"]], "left_out": {}, "notes": [] },
        table("latency", "less", json!({
            "Pawprint": row(20.0 * machine * ours),
            "Pawprint in fp32": row(900.0),
            "FastAPI, 1 worker": row(60.0 * machine),
            "LitServe": row(80.0 * machine),
        })),
        table("throughput", "more", json!({
            "Pawprint": row(100.0 / machine),
            "FastAPI, 1 worker": row(50.0 / machine),
        })),
    ]});
    let path = folder.join(name);
    fs::write(&path, result.to_string()).unwrap();
    path
}

/// Exit status and output of a comparison.
fn compare(before: &Path, after: &Path) -> (Option<i32>, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/bench.py");
    let output = Command::new("python3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args([script, "--compare"])
        .args([before, after])
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_loss_relative_to_peers_is_reported_and_a_slower_machine_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let before = result(folder.path(), "before.json", 1.0, 1.0);

    let slow_machine = result(folder.path(), "slow.json", 3.0, 1.04);
    let (status, output) = compare(&before, &slow_machine);
    assert_eq!(status, Some(0), "{output}");
    assert!(!output.contains("slower"), "{output}");

    let loss = result(folder.path(), "loss.json", 3.0, 1.06);
    let (status, output) = compare(&before, &loss);
    assert_eq!(status, Some(1), "{output}");
    assert!(output.contains("| latency | 0.94× | **slower** |"), "{output}");
    assert!(output.contains("| throughput | 1.00× |  |"), "{output}");
}

#[test]
fn results_without_anything_in_common_are_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let before = result(folder.path(), "before.json", 1.0, 1.0);
    let other = folder.path().join("other.json");
    fs::write(&other, json!({ "machine": {}, "tables": [] }).to_string()).unwrap();
    let (status, output) = compare(&before, &other);
    assert_eq!(status, Some(1), "{output}");
    assert!(output.contains("no table and peer in common"), "{output}");
}
