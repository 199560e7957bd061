//! What a job would need, measured before it is queued: `dry_run` of `POST /jobs`.
#![cfg(target_os = "linux")]

use std::time::Duration;

use crate::common::{disk::Disk, process::Process};
use serde_json::{Value, json};

fn body(recipe: &str, params: Value) -> Value {
    json!({ "recipe": recipe, "dataset": "pets", "params": params, "dry_run": true })
}

fn leftovers(server: &Process) -> usize {
    std::fs::read_dir(server.folder("x").parent().unwrap().parent().unwrap().join("tmp"))
        .unwrap()
        .count()
}

/// Trains nothing, leaves nothing, and says what the job needs.
#[tokio::test]
async fn each_recipe_with_built_in_weights_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(20).await;
    for (recipe, params) in [
        ("scratch_cnn", json!({ "epochs": 7, "batch_size": 8 })),
        ("augmented_cnn", json!({ "batch_size": 8 })),
        ("efficientnet_lite0_features", json!({})),
        ("efficientnet_lite0_finetune", json!({ "epochs": 2, "batch_size": 8 })),
    ] {
        let (status, estimate) = server.post("/jobs", body(recipe, params)).await;
        assert_eq!(status, 200, "{estimate}");
        assert_eq!(estimate["fits"], true, "{estimate}");
        assert_eq!(estimate["problems"], json!([]));
        // On a busy machine, the first steps may take longer than a probe may.
        if estimate["probe"]["seconds"].as_f64().unwrap() >= 20.0 {
            crate::common::skip::skip(format!(
                "{recipe}: the machine is too slow for a whole probe"
            ));
            continue;
        }
        let number = |pointer: &str| {
            estimate
                .pointer(pointer)
                .and_then(Value::as_f64)
                .unwrap_or_else(|| panic!("{estimate}"))
        };
        let (epoch, epochs) = (number("/seconds_per_epoch"), number("/epochs"));
        assert!(epoch > 0.0 && number("/seconds") > epoch * epochs, "{estimate}");
        assert!(number("/memory/needed") > 5e7, "{estimate}");
        assert!(number("/memory/available") > number("/memory/needed"), "{estimate}");
        assert!(number("/disk/needed") > 1e6, "{estimate}");
        assert!(estimate["ends_at"].is_string() && number("/queue_seconds") == 0.0, "{estimate}");
        assert_eq!(estimate["probe"]["device"], "cpu");
        assert_eq!(leftovers(&server), 0);
    }
    let jobs = server.get("/jobs").await;
    assert_eq!(jobs["items"], json!([]), "nothing was queued");
    // The review of the dataset, which runs meanwhile, has caches of its own.
    let cache = std::fs::read_dir(folder.path().join("cache")).unwrap();
    let mut names = cache.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.any(|name| name.starts_with("180x180")), "images were cached");
}

#[tokio::test]
async fn what_is_wrong_with_a_job_is_said_without_measuring_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    for (body, status, code) in [
        (body("scratch_cnn", json!({ "epochs": 0 })), 422, "invalid_value"),
        (json!({ "recipe": "scratch_cnn", "dataset": "none", "dry_run": true }), 404, "not_found"),
        (json!({ "recipe": "scratch_cnn", "dataset": "pets", "dry_run": 1 }), 422, "invalid_value"),
        (body("vgg16_features", json!({})), 409, "weights_unavailable"),
    ] {
        let (answered, problem) = server.post("/jobs", body).await;
        assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{problem}");
    }
    let id = server.job(json!({ "epochs": 1 })).await;
    let job = server.ended(&id).await;
    let mut taken = body("scratch_cnn", json!({}));
    taken["name"] = job["name"].clone();
    let (status, problem) = server.post("/jobs", taken).await;
    assert_eq!((status, &problem["code"]), (409, &json!("name_taken")), "{problem}");
}

/// A disk with less room than the decoded images take.
#[tokio::test]
async fn a_job_that_cannot_fit_is_refused_unless_it_is_forced() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _disk = match Disk::mount(&data, 40_000_000) {
        Ok(disk) => disk,
        Err(why) => return crate::common::skip::skip(why),
    };
    let server = Process::start(&data);
    server.pets(150).await;
    let free = || rustix::fs::statvfs(&data).map(|it| it.f_bavail * it.f_frsize).unwrap();
    let filler = data.join("filler");
    std::fs::write(&filler, vec![0; (free() - 8_000_000) as usize]).unwrap();
    let recipe = "efficientnet_lite0_features";
    let mut job = json!({ "recipe": recipe, "dataset": "pets" });
    let (status, problem) = server.post("/jobs", job.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("does_not_fit")), "{problem}");
    assert_eq!(problem["resource"], "disk");
    assert!(problem["needed"].as_u64() > problem["available"].as_u64(), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("MB of disk space"), "{problem}");
    assert_eq!(server.get("/jobs").await["items"], json!([]));
    // A dry run says the same, whether or not it gets to its own end.
    std::fs::write(&filler, vec![0; 1]).unwrap();
    std::fs::write(&filler, vec![0; (free() - 24_000_000) as usize]).unwrap();
    let (status, estimate) = server.post("/jobs", body(recipe, json!({}))).await;
    assert_eq!((status, &estimate["fits"]), (200, &json!(false)), "{estimate}");
    let code = estimate["problems"][0]["code"].as_str().unwrap();
    assert!(["not_enough_disk", "disk_full"].contains(&code), "{estimate}");
    job["force"] = json!(true);
    let (status, created) = server.post("/jobs", job).await;
    assert_eq!(status, 202, "{created}");
}

/// Its trainer is killed, its folder is removed, and the next one may begin.
#[tokio::test]
async fn a_client_that_leaves_ends_the_measurement_and_one_runs_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(150).await;
    let long = body("efficientnet_lite0_finetune", json!({}));
    let request = server.request(reqwest::Method::POST, "/jobs").json(&long).send();
    let first = tokio::spawn(request);
    let probing = || leftovers(&server) > 0;
    wait_for(probing).await;
    let (status, problem) = server.post("/jobs", long.clone()).await;
    assert_eq!((status, &problem["code"]), (429, &json!("probe_running")), "{problem}");
    first.abort();
    wait_for(|| !probing()).await;
    let (status, estimate) = server.post("/jobs", body("scratch_cnn", json!({}))).await;
    assert_eq!(status, 200, "{estimate}");
}

async fn wait_for(condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(condition(), "it did not come");
}
