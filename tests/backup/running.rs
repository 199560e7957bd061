//! Beside a server that goes on.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use pawprint::maintenance::backup;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    assert_healthy, back_up,
    common::{
        data::{execute, images},
        photo,
        process::Process,
        tar,
    },
    photos, restore, success,
};

/// What the API says of things that do not change while the test runs.
async fn said(server: &Process, job: &str, model: &str) -> Vec<Value> {
    let mut said = Vec::new();
    for path in [
        "/datasets/pets".to_owned(),
        "/datasets/pets/images?limit=500".to_owned(),
        "/datasets/pets/statistics".to_owned(),
        format!("/jobs/{job}"),
        format!("/jobs/{job}/metrics"),
        format!("/jobs/{job}/evaluation"),
        format!("/models/{model}"),
    ] {
        said.push(server.get(&path).await);
    }
    let mut current = server.get("/models/current").await;
    current.as_object_mut().unwrap().remove("since");
    said.push(current);
    let log = server.request(Method::GET, &format!("/jobs/{job}/log")).send().await.unwrap();
    said.push(json!(log.text().await.unwrap()));
    let request = server.request(Method::POST, "/predict").header("content-type", "image/jpeg");
    let answer: Value = request.body(photo(1)).send().await.unwrap().json().await.unwrap();
    said.push(json!([answer["predictions"], answer["model"]]));
    said
}

/// Uploads photos to the dataset `busy` and deletes every other one, until told to end; gives how
/// many are there.
async fn be_busy(server: &Process, ended: &AtomicBool) -> usize {
    let mut there = 0;
    let mut number = 0;
    while !ended.load(Ordering::Relaxed) {
        number += 1;
        let body = tar(&[("train/cat/x.jpg", photo(1_000 + number))]);
        let request = server.request(Method::POST, "/datasets/busy/archive").body(body);
        assert_eq!(request.send().await.unwrap().status(), 200);
        there += 1;
        if number % 2 == 0 {
            let page = server.get("/datasets/busy/images?limit=1").await;
            let path =
                format!("/datasets/busy/images/{}", page["items"][0]["id"].as_str().unwrap());
            assert_eq!(server.ask(Method::DELETE, &path, None).await.0, 204);
            there -= 1;
        }
    }
    there
}

#[tokio::test]
async fn a_busy_server_is_backed_up_and_restored_elsewhere_and_its_job_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let [data, to, restored] = ["data", "backup", "restored"].map(|name| folder.path().join(name));
    let mut server = Process::start(&data);
    server.pets(8).await;
    assert_eq!(server.post("/datasets", json!({ "name": "busy" })).await.0, 201);
    let params = json!({ "epochs": 1, "batch_size": 8, "precision": "fp32", "device": "cpu" });
    let done = server.job(params).await;
    let model = server.ended(&done).await["model_id"].as_str().unwrap().to_owned();
    let choice = Some(json!({ "model": model }));
    assert_eq!(server.ask(Method::PUT, "/models/current", choice).await.0, 200);
    let params = json!({ "epochs": 5_000, "batch_size": 8, "precision": "fp32", "device": "cpu" });
    let running = server.job(params).await;
    server.epoch(&running, 2).await;

    let ended = AtomicBool::new(false);
    let (from, place) = (data.clone(), to.clone());
    let backing_up = async {
        let mut outputs = Vec::new();
        for _ in 0..3 {
            let (from, place) = (from.clone(), place.clone());
            outputs
                .push(tokio::task::spawn_blocking(move || back_up(&from, &place)).await.unwrap());
        }
        ended.store(true, Ordering::Relaxed);
        outputs
    };
    let (outputs, there) = tokio::join!(backing_up, be_busy(&server, &ended));
    for output in &outputs {
        assert!(success(output).contains("2 datasets, "), "{output:?}");
        assert_eq!(output.stderr, b"", "{output:?}");
    }
    let before = said(&server, &done, &model).await;
    server.end(Signal::KILL);
    assert_healthy(&to).await;

    // Nothing of the restored directory may lead back to the first.
    fs::remove_dir_all(&data).unwrap();
    let told = success(&restore(&to, &restored));
    assert!(told.contains("1 job will continue when the server starts"), "{told}");
    let server = Process::start(&restored);
    assert_eq!(said(&server, &done, &model).await, before);
    let busy = server.get("/datasets/busy/images?limit=500").await;
    let busy = busy["items"].as_array().unwrap();
    assert!(there == 0 || !busy.is_empty());
    for image in busy {
        let path = format!("/images/{}", image["id"].as_str().unwrap());
        let answer = server.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.unwrap().len() as u64, image["bytes"].as_u64().unwrap());
    }
    let goes_on = server.event(&running, |kind, data| {
        (kind == "epoch" && data["epoch"].as_u64() > Some(3)).then_some(())
    });
    goes_on.await;
    assert_eq!(server.post(&format!("/jobs/{running}/stop"), json!({})).await.0, 202);
    let job = server.ended(&running).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    // It went on from its checkpoint, not from the beginning.
    let epochs = server.epochs(&running).await;
    assert_eq!(epochs, (1..=epochs.len() as u64).collect::<Vec<_>>());
    let log = fs::read_to_string(server.folder(&running).join("log.txt")).unwrap();
    let starts: Vec<_> = log.lines().filter(|line| line.contains("completed_epochs=")).collect();
    assert!(!starts.last().unwrap().contains("completed_epochs=0"), "{starts:?}");
}

#[tokio::test]
async fn what_the_server_deletes_meanwhile_is_not_in_the_backup_and_not_missed() {
    let data = photos(12).await;
    let to = tempfile::tempdir().unwrap();
    let blob = images(data.path()).remove(0);
    let mut attempts = 0;
    // Told before each image: a moment between the copy of the database and that of the first one.
    let mut sweep = |done, _| {
        attempts += u32::from(done == 0);
        if attempts == 1 && blob.exists() {
            let sql = "DELETE FROM images WHERE sha256 = (SELECT MIN(sha256) FROM images)";
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
            std::thread::scope(|scope| {
                let delete = || runtime().unwrap().block_on(execute(data.path(), sql));
                scope.spawn(delete).join().unwrap();
            });
            fs::remove_file(&blob).unwrap();
        }
    };
    let report = backup::run(data.path(), to.path(), &mut sweep).await.unwrap();
    assert_eq!(attempts, 2);
    assert!(report.missing.is_empty() && report.damaged.is_empty(), "{report:?}");
    assert_eq!(report.about.totals.images, 11);
    assert_healthy(to.path()).await;
}
