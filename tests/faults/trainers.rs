//! Trainers that are killed, stopped, or run out of memory.

use std::{
    fs,
    time::{Duration, Instant},
};

use rand::RngExt as _;
use reqwest::Method;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};

use super::{
    common::process::{PATIENCE, Process, kill},
    machine::trainers,
    sandbox::{Client, Sandbox},
    scale::{Trial, is_long, rounds},
};

fn params() -> Value {
    json!({ "epochs": 4, "batch_size": 4, "precision": "fp32", "device": "cpu", "seed": 7 })
}

/// Waits until `there` returns something.
async fn wait_for<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(it) = there() {
            return it;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: never");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn trainer(job: &str) -> i32 {
    wait_for("a trainer", || Process::trainers(job).first().copied()).await
}

#[tokio::test]
async fn a_trainer_killed_at_any_moment_ends_on_the_weights_of_one_that_was_not() {
    let trial = Trial::new("kills of trainers");
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    server.pets(8).await;
    let begun = Instant::now();
    let id = server.job(params()).await;
    let job = server.ended(&id).await;
    let takes = begun.elapsed();
    let undisturbed = server.weights(&job).await;
    let (rounds, mut kills) = (rounds(3, 40), 0);
    for round in 0..rounds {
        let mut draws = trial.draws(round);
        let id = server.job(params()).await;
        // The third kill would end the job as interrupted.
        for _ in 0..draws.random_range(1..3) {
            let pid = trainer(&id).await;
            tokio::time::sleep(takes.mul_f64(draws.random_range(0.0..1.0))).await;
            kill(pid, Signal::KILL);
            kills += 1;
            wait_for("its end", || (!Process::trainers(&id).contains(&pid)).then_some(())).await;
            if server.get(&format!("/jobs/{id}")).await["status"] == "succeeded" {
                break;
            }
        }
        let job = server.ended(&id).await;
        assert_eq!(job["status"], "succeeded", "round {round}: {job}");
        assert_eq!(server.epochs(&id).await, [1, 2, 3, 4], "round {round}");
        assert!(server.weights(&job).await == undisturbed, "round {round}: the weights differ");
    }
    sandbox.assert_no_panic();
    trial.ends(format_args!("{rounds} jobs, {kills} kills, weights bit-identical"));
}

#[tokio::test]
async fn a_stopped_trainer_is_noticed_and_its_job_goes_on() {
    let trial = Trial::new("a stopped trainer");
    if !is_long() {
        return trial
            .skip("takes a minute; tests/server/durability.rs tests it with a shorter timeout");
    }
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    server.pets(8).await;
    let id = server.job(params()).await;
    server.epoch(&id, 1).await;
    let pid = trainer(&id).await;
    kill(pid, Signal::STOP);
    let stopped = Instant::now();
    let job = server.ended(&id).await;
    assert_eq!((&job["status"], &job["attempts"]), (&json!("succeeded"), &json!(2)), "{job}");
    assert!(trainers(&sandbox.data()).is_empty());
    trial.ends(format_args!(
        "job succeeded {:.0?} after the stop, with a second trainer",
        stopped.elapsed()
    ));
}

#[tokio::test]
async fn a_trainer_that_is_stopped_when_the_server_is_killed_does_not_outlive_it() {
    let trial = Trial::new("a stopped trainer of a killed server");
    let sandbox = Sandbox::new();
    let mut server = sandbox.start();
    server.pets(8).await;
    let id = server.job(params()).await;
    server.epoch(&id, 1).await;
    let stopped = trainer(&id).await;
    kill(stopped, Signal::STOP);
    server.end(Signal::KILL);
    let server = sandbox.start();
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let left = trainers(&sandbox.data());
    kill(stopped, Signal::CONT);
    assert!(left.is_empty(), "{left:?} of the first server is still there");
    trial.ends("no trainer of the first server is left");
}

#[tokio::test]
async fn a_trainer_without_memory_says_so_and_the_server_goes_on() {
    let trial = Trial::new("trainers without memory");
    let sandbox = Sandbox::new();
    // A panic must not print the stack of a trainer that has no memory for that.
    let server = sandbox.spawn(sandbox.program().env("RUST_BACKTRACE", "1"));
    let client = Client::of(&server);
    server.pets(8).await;
    let (rounds, mut said) = (rounds(3, 100), std::collections::BTreeMap::<String, u32>::new());
    for round in 0..rounds {
        let mut draws = trial.draws(round);
        let id = server.job(json!({ "epochs": 10_000, "batch_size": 8 })).await;
        let pid = trainer(&id).await;
        let room = draws.random_range(0..100_u64) << 20;
        // It has loaded its libraries and started a thread.
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        wait_for("threads", || (threads() > 1).then_some(())).await;
        if draws.random_ratio(3, 4) {
            tokio::time::sleep(Duration::from_millis(draws.random_range(0..300))).await;
        }
        let has = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
        let has: u64 = has.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
        let limit = Rlimit { current: Some(has + room), maximum: Some(has + room) };
        prlimit(Pid::from_raw(pid), Resource::As, limit).unwrap();
        let job = server.event(&id, |_, data| {
            let over = ["failed", "interrupted"].iter().any(|it| data["status"] == *it);
            (over || data["epoch"] == 3).then(|| data.clone())
        });
        let job = job.await;
        if job["status"].is_null() {
            // The memory was sufficient.
            *said.entry("enough".to_owned()).or_default() += 1;
        } else {
            let code = job["error"]["code"].as_str().unwrap();
            *said.entry(code.to_owned()).or_default() += 1;
            let detail = job["error"]["detail"].as_str().unwrap();
            // Not all C libraries check what they allocate: they end by a signal, and the job is tried
            // again.
            let is_killed = code == "trainer_killed";
            let is_clear = code == "out_of_memory" && detail.contains("batch_size");
            assert!(is_clear || is_killed, "round {round}: {job}");
        }
        client.ask(Method::POST, &format!("/jobs/{id}/cancel"), None).await.unwrap();
        server.ended(&id).await;
        assert_eq!(client.get("/readyz").await["status"], "ready");
    }
    sandbox.assert_no_panic();
    trial.ends(format_args!(
        "{rounds} trainers limited to 0 to 100 MB more than they had: {said:?}"
    ));
}
