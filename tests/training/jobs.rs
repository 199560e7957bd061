//! Jobs, with the faults that they must survive: real servers, real trainers, real signals.
#![cfg(target_os = "linux")]

use std::{fs, os::unix::fs::FileExt as _, process::Command, time::Instant};

use crate::common::{
    process::{PATIENCE, Process, kill},
    skip::skip,
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Photos of each class to train on: an epoch takes a second or so.
const TRAIN: u32 = 16;

fn params() -> Value {
    json!({ "epochs": 3, "batch_size": 4, "precision": "fp32", "device": "cpu", "seed": 7 })
}

/// The weights that [`params`] lead to when nothing disturbs the job.
async fn undisturbed() -> &'static [(String, Vec<u8>)] {
    static WEIGHTS: OnceCell<Vec<(String, Vec<u8>)>> = OnceCell::const_new();
    WEIGHTS
        .get_or_init(|| async {
            let folder = tempfile::tempdir().unwrap();
            let server = Process::start(folder.path());
            server.pets(TRAIN).await;
            let job = server.job(params()).await;
            let job = server.ended(&job).await;
            assert_eq!(job["status"], "succeeded", "{job}");
            assert_eq!(job["attempts"], 1);
            server.weights(&job).await
        })
        .await
}

/// Asserts that the job succeeded, has each epoch once, and ended on the undisturbed weights.
async fn assert_as_if_undisturbed(server: &Process, job: &Value) {
    assert_eq!(job["status"], "succeeded", "{job}");
    let id = job["id"].as_str().unwrap();
    assert_eq!(server.epochs(id).await, [1, 2, 3]);
    assert!(server.weights(job).await == undisturbed().await, "the weights differ");
}

#[tokio::test]
async fn a_job_trains_a_model_that_is_put_in_service_and_tells_photos_apart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    assert_eq!(server.get("/models/current").await["name"], "default");
    server.pets(TRAIN).await;
    let id = server.job(json!({ "epochs": 8, "batch_size": 8, "learning_rate": 0.0003 })).await;
    let mut kinds = Vec::new();
    server
        .event(&id, |kind, data| {
            kinds.push(kind.to_owned());
            (kind == "status" && data["status"] == "succeeded").then_some(())
        })
        .await;
    for kind in ["status", "progress", "epoch", "evaluation", "service"] {
        assert!(kinds.iter().any(|seen| seen == kind), "{kind} is missing from {kinds:?}");
    }

    let job = server.ended(&id).await;
    assert_eq!(job["service"]["decision"], "in_service", "{job}");
    let model = server.get(&format!("/models/{}", job["model_id"].as_str().unwrap())).await;
    assert_eq!(model["in_service"], true);
    assert_eq!(model["parameters"], 991_041);
    assert_eq!(model["val_accuracy"], job["best"]["val_accuracy"]);
    assert!(model["test_accuracy"].as_f64().unwrap() > 0.9, "{model}");
    assert_eq!(server.get("/models/current").await["mode"], "best");
    assert_eq!(server.get("/readyz").await["status"], "ready");

    let csv =
        server.request(Method::GET, &format!("/jobs/{id}/metrics")).header("accept", "text/csv");
    let csv = csv.send().await.unwrap().text().await.unwrap();
    assert_eq!(csv.lines().count(), 1 + 8);
    assert!(csv.starts_with("epoch,train_loss,train_accuracy,val_loss"), "{csv}");
    let log = server.request(Method::GET, &format!("/jobs/{id}/log")).send().await.unwrap();
    assert!(log.text().await.unwrap().contains("epoch complete"));

    assert_eq!(server.ask(Method::DELETE, &format!("/jobs/{id}"), None).await.0, 204);
    assert!(!server.folder(&id).exists());
    assert_eq!(server.get("/models/current").await["id"], model["id"]);
    let (status, problem) = server
        .ask(Method::DELETE, &format!("/models/{}", model["id"].as_str().unwrap()), None)
        .await;
    assert_eq!((status, &problem["code"]), (409, &json!("in_service")));
}

#[tokio::test]
async fn a_killed_trainer_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(params()).await;
    server.epoch(&id, 1).await;
    let trainers = Process::trainers(&id);
    assert_eq!(trainers.len(), 1);
    kill(trainers[0], Signal::KILL);
    // It says so before it is taken up again by itself.
    let interrupted = server
        .event(&id, |kind, data| {
            (kind == "status" && data["status"] == "interrupted").then(|| data.clone())
        })
        .await;
    assert_eq!(interrupted["error"]["code"], "trainer_killed");
    let job = server.ended(&id).await;
    assert_eq!(job["attempts"], 2);
    assert_as_if_undisturbed(&server, &job).await;
}

#[tokio::test]
async fn a_trainer_that_dies_three_times_leaves_the_job_interrupted_until_it_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(params()).await;
    for attempt in 1..=3 {
        server
            .event(&id, |kind, data| {
                (kind == "status" && data["attempts"] == attempt && !data["device"].is_null())
                    .then_some(())
            })
            .await;
        let trainer = wait_for(|| Process::trainers(&id).first().copied());
        kill(trainer, Signal::KILL);
        wait_for(|| (!Process::trainers(&id).contains(&trainer)).then_some(()));
    }
    let job = server.ended(&id).await;
    assert_eq!((&job["status"], &job["attempts"]), (&json!("interrupted"), &json!(3)), "{job}");
    assert_eq!(job["error"]["code"], "trainer_killed");

    let (status, _) = server.post(&format!("/jobs/{id}/resume"), Value::Null).await;
    assert_eq!(status, 202);
    assert_as_if_undisturbed(&server, &server.ended(&id).await).await;
}

#[tokio::test]
async fn when_the_server_is_killed_its_trainer_ends_and_the_next_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(params()).await;
    server.epoch(&id, 1).await;
    server.end(Signal::KILL);
    wait_for(|| Process::trainers(&id).is_empty().then_some(()));

    let server = Process::start(folder.path());
    assert_as_if_undisturbed(&server, &server.ended(&id).await).await;
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_saves_its_job_in_the_middle_of_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(params()).await;
    server.epoch(&id, 1).await;
    assert!(server.end(Signal::TERM), "a server that was asked to stop ends well");
    assert!(Process::trainers(&id).is_empty());
    let log = fs::read_to_string(server.folder(&id).join("log.txt")).unwrap();
    assert!(log.contains("suspended; checkpoint saved"), "{log}");

    let server = Process::start(folder.path());
    let job = server.ended(&id).await;
    assert_eq!(job["attempts"], 1, "a shutdown is no failure of the job's");
    assert_as_if_undisturbed(&server, &job).await;
}

#[tokio::test]
async fn where_the_newest_checkpoint_was_cut_in_half_the_one_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(params()).await;
    server.epoch(&id, 2).await;
    server.end(Signal::KILL);
    wait_for(|| Process::trainers(&id).is_empty().then_some(()));
    let mut checkpoints: Vec<_> = fs::read_dir(server.folder(&id).join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
        .collect();
    checkpoints.sort();
    let newest = checkpoints.pop().unwrap();
    assert!(!checkpoints.is_empty());
    let file = fs::OpenOptions::new().write(true).open(&newest).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();

    let server = Process::start(folder.path());
    let job = server.ended(&id).await;
    assert_as_if_undisturbed(&server, &job).await;
    let log = fs::read_to_string(server.folder(&id).join("log.txt")).unwrap();
    assert!(log.contains("renamed a damaged checkpoint"), "{log}");
}

#[tokio::test]
async fn a_job_is_cancelled_within_a_batch_and_goes_on_when_it_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(params()).await;
    let waiting = server.job(params()).await;
    server.epoch(&id, 1).await;

    // One that waits is cancelled at once; one that runs can't be deleted.
    let (_, job) = server.post(&format!("/jobs/{waiting}/cancel"), Value::Null).await;
    assert_eq!(job["status"], "cancelled");
    assert_eq!(server.ask(Method::DELETE, &format!("/jobs/{id}"), None).await.0, 409);
    assert_eq!(server.ask(Method::DELETE, "/datasets/pets", None).await.0, 409);

    assert_eq!(server.post(&format!("/jobs/{id}/cancel"), Value::Null).await.0, 202);
    let job = server.ended(&id).await;
    assert_eq!((&job["status"], &job["error"]), (&json!("cancelled"), &Value::Null), "{job}");
    assert!(Process::trainers(&id).is_empty());
    let (status, problem) = server.post(&format!("/jobs/{id}/cancel"), Value::Null).await;
    assert_eq!((status, &problem["code"]), (409, &json!("wrong_status")));

    assert_eq!(server.post(&format!("/jobs/{id}/resume"), Value::Null).await.0, 202);
    assert_as_if_undisturbed(&server, &server.ended(&id).await).await;
}

#[tokio::test]
async fn a_stopped_job_keeps_its_best_epoch_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(json!({ "epochs": 1000, "batch_size": 4 })).await;
    server.epoch(&id, 1).await;
    assert_eq!(server.post(&format!("/jobs/{id}/stop"), Value::Null).await.0, 202);
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let last = *server.epochs(&id).await.last().unwrap();
    assert!(last < 1000 && job["best"]["epoch"].as_u64().unwrap() <= last);
    assert!(!job["model_id"].is_null());
}

#[tokio::test]
async fn a_job_that_is_stopped_in_its_first_epoch_has_nothing_to_keep() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(json!({ "epochs": 1000, "batch_size": 1 })).await;
    server
        .event(&id, |kind, data| (kind == "status" && data["status"] == "running").then_some(()))
        .await;
    assert_eq!(server.post(&format!("/jobs/{id}/stop"), Value::Null).await.0, 202);
    let job = server.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("nothing_to_keep")),
        "{job}"
    );
    assert!(job["model_id"].is_null());
}

#[tokio::test]
async fn a_loss_that_is_no_number_any_more_fails_the_job_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let id = server.job(json!({ "epochs": 20, "batch_size": 4, "learning_rate": 10_000 })).await;
    let job = server.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("nan_loss")),
        "{job}"
    );
    assert!(job["error"]["detail"].as_str().unwrap().contains("learning rate"), "{job}");
}

#[tokio::test]
async fn a_photo_that_the_disk_has_damaged_fails_the_job_until_it_is_uploaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(TRAIN).await;
    let images = server.get("/datasets/pets/images?split=train&limit=1").await;
    let image = &images["items"][0];
    let digest = image["sha256"].as_str().unwrap();
    let blob = folder.path().join("blobs").join(&digest[..2]).join(digest);
    let whole = fs::read(&blob).unwrap();
    fs::OpenOptions::new().write(true).open(&blob).unwrap().write_all_at(b"damage", 40).unwrap();

    let id = server.job(params()).await;
    let job = server.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("bad_dataset")),
        "{job}"
    );
    assert!(
        job["error"]["detail"].as_str().unwrap().contains(image["id"].as_str().unwrap()),
        "{job}"
    );

    let path =
        format!("/datasets/pets/images?split=train&label={}", image["label"].as_str().unwrap());
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(whole).file_name("again.png"));
    let answer = server.request(Method::POST, &path).multipart(form).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["duplicates"], 1);
    assert_eq!(server.post(&format!("/jobs/{id}/resume"), Value::Null).await.0, 202);
    assert_as_if_undisturbed(&server, &server.ended(&id).await).await;
}

#[tokio::test]
async fn a_full_disk_fails_the_job_and_the_service_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // A disk of its own, too small for a checkpoint; it goes with the server that mounted it.
    let script = r#"mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@""#;
    let arguments = ["--mount", "--map-root-user", "sh", "-c"];
    let mut probe = Command::new("unshare");
    if !probe
        .args(arguments)
        .args([script])
        .arg(folder.path())
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        skip("this system lets no test mount a disk of its own");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(arguments).arg(script).arg(folder.path()).arg(env!("CARGO_BIN_EXE_pawprint"));
    let server = Process::spawn(&mut command, folder.path());
    server.pets(TRAIN).await;
    let id = server.job(params()).await;
    let job = server.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("disk_full")),
        "{job}"
    );
    assert_eq!(server.get("/healthz").await["status"], "ok");
    assert_eq!(server.get("/datasets/pets").await["images"], TRAIN * 4);
}

#[tokio::test]
async fn what_can_not_be_trained_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.post("/datasets", json!({ "name": "empty" })).await;
    let refused = async |body: Value| {
        let (status, problem) = server.post("/jobs", body).await;
        (
            status,
            problem["code"].as_str().unwrap_or_default().to_owned(),
            problem["detail"].to_string(),
        )
    };
    let (status, code, detail) =
        refused(json!({ "recipe": "scratch_cnn", "dataset": "empty" })).await;
    assert_eq!((status, &*code), (422, "dataset_not_trainable"), "{detail}");
    let (status, code, _) = refused(json!({ "recipe": "scratch_cnn", "dataset": "none" })).await;
    assert_eq!((status, &*code), (404, "not_found"));
    for (params, field) in [
        (json!({ "epochs": 0 }), "epochs"),
        (json!({ "learning_rate": -1 }), "learning_rate"),
        (json!({ "batch_size": 5000 }), "batch_size"),
        (json!({ "momentum": 1 }), "momentum"),
        (json!({ "epochs": "many" }), "epochs"),
    ] {
        let (status, code, detail) =
            refused(json!({ "recipe": "scratch_cnn", "dataset": "empty", "params": params })).await;
        assert_eq!((status, &*code), (422, "invalid_value"), "{detail}");
        assert!(detail.contains(field), "{detail}");
    }
    assert_eq!(refused(json!({ "recipe": "magic", "dataset": "empty" })).await.0, 422);
    assert_eq!(server.ask(Method::GET, "/jobs/nothing", None).await.0, 404);
    assert_eq!(server.ask(Method::GET, "/jobs?status=done", None).await.0, 422);
}

/// Looks until there is something.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never comes");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
