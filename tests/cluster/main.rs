//! Jobs on a cluster: each ends with the weights of a job on the server, whatever dies meanwhile, or says
//! why it does not.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]

#[path = "../common/mod.rs"]
mod common;

mod fences;
mod head;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use common::process::{PATIENCE, Process};
use head::{Head, TOKEN, free_address};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A server's folders, and the cluster that it uses.
struct Site {
    folder: tempfile::TempDir,
    head: Head,
    address: String,
}

impl Site {
    async fn new(places: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ray-token"), TOKEN).unwrap();
        Self { folder, head: Head::new(places).await, address: free_address().await.to_string() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A server that trains on the cluster.
    fn start(&self, settings: &[(&str, &str)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        command
            .stderr(log)
            .env("PAWPRINT_LISTEN", &self.address)
            .env("PAWPRINT_EXECUTOR", "ray")
            .env("PAWPRINT_MAX_RUNNING_JOBS", "3")
            .env("PAWPRINT_RAY_ADDRESS", format!("http://{}", self.head.address))
            .env("PAWPRINT_RAY_TOKEN_FILE", self.path("ray-token"))
            .env("PAWPRINT_CLUSTER_SERVER", format!("http://{}", self.address))
            .env("PAWPRINT_CLUSTER_CACHE", self.cache())
            .envs(settings.iter().copied());
        Process::spawn(&mut command, &self.data())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Jobs in progress that trainers have folders for.
    fn workspaces(&self) -> usize {
        fs::read_dir(self.cache().join("attempts")).map_or(0, Iterator::count)
    }
}

fn params(epochs: u32) -> Value {
    json!({ "epochs": epochs, "batch_size": 4, "precision": "fp32", "device": "cpu", "seed": 7 })
}

/// The weights of such a job that the server trains itself.
async fn undisturbed(epochs: u32) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(8).await;
    let id = server.job(params(epochs)).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(job["placement"], Value::Null);
    server.weights(&job).await
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: never");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the job's placement is as wanted.
async fn placed(server: &Process, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let job = server.get(&format!("/jobs/{id}")).await;
        if wanted(&job["placement"]) {
            return job;
        }
        assert!(begun.elapsed() < PATIENCE, "{job}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn log_of(server: &Process, id: &str) -> String {
    fs::read_to_string(server.folder(id).join("log.txt")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_at_once_on_the_nodes_and_give_what_the_server_would() {
    let site = Site::new(3).await;
    site.head.up().await;
    let server = site.start(&[]);
    server.pets(8).await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(server.job(params(3)).await);
    }
    let mut placements = Vec::new();
    for id in &jobs {
        placements.push(placed(&server, id, |it| it["state"] == "running").await);
    }
    assert_eq!(site.head.with("RUNNING").len(), 3, "all at once");
    let expected = undisturbed(3).await;
    for (id, placed) in jobs.iter().zip(placements) {
        let job = server.ended(id).await;
        assert_eq!((&job["status"], &job["attempts"]), (&json!("succeeded"), &json!(1)), "{job}");
        assert!(server.weights(&job).await == expected, "the weights differ");
        assert_eq!(server.epochs(id).await, [1, 2, 3]);
        let placement = &job["placement"];
        assert_eq!((&placement["executor"], &placement["state"]), (&json!("ray"), &json!("ended")));
        assert_eq!(placement["id"], placed["placement"]["id"]);
        assert!(placement["node"].is_string() && placement["message"].is_null(), "{placement}");
        let page =
            format!("http://{}/#/jobs/{}", site.head.address, placement["id"].as_str().unwrap());
        assert_eq!(placement["url"], page);
        assert!(log_of(&server, id).contains("epoch complete"), "{}", log_of(&server, id));
        let evaluation = server.get(&format!("/jobs/{id}/evaluation")).await;
        assert_eq!(evaluation["count"], 8, "{evaluation}");
        assert!(!server.folder(id).join("incoming").exists());
    }
    until("the trainers' end", || site.head.with("SUCCEEDED").len() >= 3).await;
    assert_eq!(site.workspaces(), 0, "nothing is left on the node");
    // One model has gone into service, and the others were compared with it, on the cluster as well.
    for id in site.head.with("SUCCEEDED") {
        let submission = site.head.submission(&id);
        assert_eq!(submission["entrypoint_num_cpus"], 1);
        assert!(submission["entrypoint_memory"].as_u64().unwrap() > 100_000_000);
        let text = submission.to_string();
        assert!(!text.contains(TOKEN), "the cluster's token stays with the server");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_node_is_lost_continues_on_another() {
    let site = Site::new(1).await;
    site.head.up().await;
    let server = site.start(&[]);
    server.pets(8).await;
    let id = server.job(params(4)).await;
    server.epoch(&id, 2).await;
    let first = site.head.with("RUNNING").remove(0);
    // Its checkpoint is on the server by then, or it begins anew: the weights are the same.
    until("a checkpoint", || {
        fs::read_dir(server.folder(&id).join("checkpoints")).is_ok_and(|mut it| it.next().is_some())
    })
    .await;
    site.head.kill(&first);
    let job = server.ended(&id).await;
    assert_eq!((&job["status"], &job["attempts"]), (&json!("succeeded"), &json!(2)), "{job}");
    assert_eq!(server.epochs(&id).await, [1, 2, 3, 4]);
    assert!(server.weights(&job).await == undisturbed(4).await, "the weights differ");
    until("the folder's end", || site.workspaces() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_goes_on_without_the_server_and_is_found_again() {
    let site = Site::new(1).await;
    site.head.up().await;
    let mut server = site.start(&[]);
    server.pets(8).await;
    let id = server.job(params(6)).await;
    server.epoch(&id, 1).await;
    assert!(!server.end(Signal::KILL));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut server = site.start(&[]);
    server.epoch(&id, 3).await;
    // A server that is stopped leaves its trainers alone, too.
    assert!(server.end(Signal::TERM));
    let server = site.start(&[]);
    let job = server.ended(&id).await;
    assert_eq!((&job["status"], &job["attempts"]), (&json!("succeeded"), &json!(1)), "{job}");
    assert_eq!(server.epochs(&id).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(site.head.submissions(), 2, "one to train, one to compare with the built-in model");
    assert!(server.weights(&job).await == undisturbed(6).await, "the weights differ");
    let events = server.request(Method::GET, &format!("/jobs/{id}/events")).send().await.unwrap();
    let events = events.text().await.unwrap();
    assert_eq!(events.matches("event: epoch").count(), 6, "no event counts twice");
    assert_eq!(events.matches("event: evaluation").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_a_head_that_is_down() {
    let site = Site::new(1).await;
    let server = site.start(&[]);
    server.pets(8).await;
    let id = server.job(params(4)).await;
    let job = placed(&server, &id, |it| it["message"].is_string()).await;
    assert_eq!(
        (&job["status"], &job["placement"]["state"]),
        (&json!("running"), &json!("submitting"))
    );
    let message = job["placement"]["message"].as_str().unwrap();
    assert!(message.starts_with("can't reach Ray at http://127.0.0.1:"), "{message}");
    site.head.up().await;
    server.epoch(&id, 1).await;
    // A head that is away while the job runs is no loss.
    site.head.down();
    server.epoch(&id, 3).await;
    site.head.up().await;
    let job = server.ended(&id).await;
    assert_eq!((&job["status"], &job["attempts"]), (&json!("succeeded"), &json!(1)), "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_never_starts_says_why() {
    let site = Site::new(0).await;
    let server = site.start(&[("PAWPRINT_CLUSTER_WAIT", "4")]);
    server.pets(8).await;
    let id = server.job(params(1)).await;
    let job = server.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("cluster_unreachable")),
        "{job}"
    );
    site.head.up().await;
    let (status, _) = server.post(&format!("/jobs/{id}/resume"), Value::Null).await;
    assert_eq!(status, 202);
    let job = server.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("no_place")),
        "{job}"
    );
    let detail = job["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("within 4 s") && detail.contains("1 CPU, "), "{detail}");
    assert_eq!(job["placement"]["state"], "ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_on_the_node_is_named() {
    let site = Site::new(1).await;
    site.head.up().await;
    let server = site.start(&[("PAWPRINT_CLUSTER_PROGRAM", "/opt/none/pawprint")]);
    server.pets(8).await;
    let id = server.job(params(1)).await;
    let job = server.ended(&id).await;
    let code = &job["error"]["code"];
    assert_eq!((&job["status"], code), (&json!("failed"), &json!("trainer_not_started")), "{job}");
    let detail = job["error"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("`/opt/none/pawprint` ended on the node"), "{detail}");
    assert_eq!(site.head.submissions(), 1, "it is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_is_preempted_saves_its_state_and_counts_no_attempt() {
    let site = Site::new(1).await;
    site.head.up().await;
    let server = site.start(&[]);
    server.pets(8).await;
    let id = server.job(params(10)).await;
    server.epoch(&id, 2).await;
    let first = site.head.with("RUNNING").remove(0);
    site.head.signal(&first, Signal::TERM);
    placed(&server, &id, |it| it["id"] != first.as_str() && it["state"] == "running").await;
    let log = log_of(&server, &id);
    assert!(log.contains("suspended; checkpoint saved"), "{log}");
    let job = server.ended(&id).await;
    assert_eq!((&job["status"], &job["attempts"]), (&json!("succeeded"), &json!(1)), "{job}");
    assert!(server.weights(&job).await == undisturbed(10).await, "the weights differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_that_the_head_forgets_is_submitted_again() {
    let site = Site::new(0).await;
    site.head.up().await;
    let server = site.start(&[]);
    server.pets(8).await;
    let id = server.job(params(1)).await;
    let job = placed(&server, &id, |it| it["state"] == "waiting").await;
    let first = job["placement"]["id"].as_str().unwrap().to_owned();
    site.head.forget(1);
    placed(&server, &id, |it| it["id"].is_string() && it["id"] != first.as_str()).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_don_t_wait_for_jobs_on_the_cluster() {
    let site = Site::new(0).await;
    site.head.up().await;
    let server = site.start(&[]);
    server.pets(8).await;
    let id = server.job(params(1)).await;
    placed(&server, &id, |it| it["state"] == "waiting").await;
    let path = "/datasets/pets/review";
    assert_eq!(server.post(path, json!({})).await.0, 202);
    let begun = Instant::now();
    while server.get(path).await["status"] != "complete" {
        assert!(begun.elapsed() < PATIENCE, "not reviewed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    placed(&server, &id, |it| it["state"] == "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_refuses_ends_the_job_at_once() {
    let site = Site::new(1).await;
    site.head.up().await;
    fs::write(site.path("ray-token"), "another").unwrap();
    let server = site.start(&[]);
    server.pets(8).await;
    let id = server.job(params(1)).await;
    let job = server.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("cluster_refused")),
        "{job}"
    );
    assert!(job["error"]["detail"].as_str().unwrap().contains("PAWPRINT_RAY_TOKEN_FILE"), "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_stopped_wherever_it_is() {
    let site = Site::new(1).await;
    site.head.up().await;
    let server = site.start(&[]);
    server.pets(8).await;
    let running = server.job(params(1000)).await;
    server.epoch(&running, 1).await;
    let waiting = server.job(params(1000)).await;
    placed(&server, &waiting, |it| it["state"] == "waiting").await;
    for id in [&waiting, &running] {
        let (status, _) = server.post(&format!("/jobs/{id}/cancel"), Value::Null).await;
        assert_eq!(status, 202);
    }
    for id in [&waiting, &running] {
        let job = server.ended(id).await;
        assert_eq!((&job["status"], &job["error"]), (&json!("cancelled"), &Value::Null), "{job}");
    }
    until("the end of the trainers", || {
        site.workspaces() == 0 && site.head.with("RUNNING").is_empty()
    })
    .await;
    // It started all the same, and ended at once: nobody needed it.
    let job = server.get(&format!("/jobs/{waiting}")).await;
    assert_eq!((&job["status"], &job["device"]), (&json!("cancelled"), &Value::Null), "{job}");
    assert!(!Path::new(&site.data()).join("jobs").join(&waiting).join("checkpoints").exists());
    // It resumes from its checkpoint.
    let (status, _) = server.post(&format!("/jobs/{running}/resume"), Value::Null).await;
    assert_eq!(status, 202);
    server
        .event(&running, |kind, data| {
            (kind == "status"
                && data["attempts"] == 1
                && data["status"] == "running"
                && data["best"].is_object())
            .then_some(())
        })
        .await;
    let (status, _) = server.post(&format!("/jobs/{running}/stop"), Value::Null).await;
    assert_eq!(status, 202);
    let job = server.ended(&running).await;
    assert_eq!(job["status"], "succeeded", "{job}");
}
