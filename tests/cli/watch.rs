//! `pawprint watch` and `train --follow` against a server whose connections break.

use std::{
    convert::Infallible,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures::{StreamExt as _, stream};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::common::{job, pawprint, problem, run, serve};

fn event(id: u32, name: &str, data: &Value) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}

fn epoch(number: u32) -> Value {
    json!({
        "epoch": number, "train_loss": 0.5, "train_accuracy": 0.7, "val_loss": 0.6, "val_accuracy": 0.65,
        "learning_rate": 0.001, "seconds": 2.5, "images_per_second": 800.0,
    })
}

fn events(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

/// The text, then a connection that breaks.
fn cut(text: String) -> Response {
    let chunks = stream::iter([Ok(Bytes::from(text))]).chain(stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(std::io::Error::other("cut"))
    }));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(chunks)).into_response()
}

fn ended(status: &str, error: Option<(&str, &str)>) -> Value {
    let mut job = job(status);
    job["finished_at"] = json!("2026-01-01T00:02:01Z");
    job["error"] = json!(error.map(|(code, detail)| json!({ "code": code, "detail": detail })));
    if status == "succeeded" {
        job["model_id"] = json!("m1");
    }
    job
}

fn model() -> Json<Value> {
    Json(json!({
        "id": "m1", "name": "run-1", "recipe": "scratch_cnn", "dataset": "pets", "val_accuracy": 0.75,
        "test_accuracy": 0.738, "bytes": 1, "created_at": "2026-01-01T00:00:00Z", "in_service": true,
    }))
}

/// A server of one job that has ended so, whose event stream is `events`.
fn router<H, T>(last: Value, events: H) -> Router
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    Router::new()
        .route("/jobs/run-1/events", get(events))
        .route("/jobs/{job}", get(async move || Json(last)))
        .route("/models/m1", get(|| async { model() }))
}

#[tokio::test]
async fn a_broken_connection_goes_on_after_the_last_event() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let last_ids = Arc::clone(&asked);
    let running = Arc::new(Mutex::new(true));
    let still = Arc::clone(&running);
    let stream = async move |headers: HeaderMap| {
        let last = headers.get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
        last_ids.lock().unwrap().push(last.clone());
        if last.is_none() {
            let text = event(1, "status", &job("running"))
                + &event(2, "epoch", &epoch(1))
                + "id: 3\nevent: epo";
            return cut(text);
        }
        *running.lock().unwrap() = false;
        events(
            event(2, "epoch", &epoch(1))
                + ": keep-alive\n\n"
                + &event(3, "epoch", &epoch(2))
                + &event(4, "evaluation", &json!({ "count": 500, "loss": 0.5, "accuracy": 0.738 }))
                + &event(5, "status", &ended("succeeded", None)),
        )
    };
    let router = Router::new()
        .route("/jobs/run-1/events", get(stream))
        .route("/models/m1", get(|| async { model() }))
        .route(
            "/jobs/{job}",
            get(async move || {
                let running = *still.lock().unwrap();
                Json(if running { job("running") } else { ended("succeeded", None) })
            }),
        );
    let url = serve(router).await;
    let ran = run(pawprint(&url, &["watch", "run-1"])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(*asked.lock().unwrap(), [None, Some("2".to_owned())]);
    assert!(ran.stderr.contains("the connection was lost"), "{}", ran.stderr);
    assert!(ran.stderr.contains("reconnecting"), "{}", ran.stderr);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "run-1 is running on cpu, fp32",
            "epoch   1  loss 0.5000  accuracy 0.7000  val loss 0.6000  val accuracy 0.6500  2.5 s  800 images/s",
            "epoch   2  loss 0.5000  accuracy 0.7000  val loss 0.6000  val accuracy 0.6500  2.5 s  800 images/s",
            "run-1 succeeded in 2m 0s",
            "best epoch 2: val loss 0.5000, val accuracy 0.7500",
            "test accuracy 0.7380 on 500 images",
            "model run-1 (m1) is now in service",
        ]
    );
}

#[tokio::test]
async fn each_ending_has_its_exit_code() {
    for (status, error, code, words) in [
        ("succeeded", None, 0, ""),
        (
            "failed",
            Some(("out_of_memory", "the memory ran out")),
            4,
            "error: job run-1 failed: the memory ran out (out_of_memory)\n",
        ),
        (
            "interrupted",
            Some(("trainer_killed", "the trainer was killed")),
            4,
            "error: job run-1 was interrupted: the trainer was killed (trainer_killed)\n",
        ),
        ("cancelled", None, 5, ""),
    ] {
        let last = ended(status, error);
        let sent = event(1, "status", &last);
        let url = serve(router(last, async move || events(sent))).await;
        let ran = run(pawprint(&url, &["watch", "run-1"])).await;
        assert_eq!((ran.code, &*ran.stderr), (Some(code), words), "{status}");
        let ran = run(pawprint(&url, &["watch", "run-1", "--json"])).await;
        assert_eq!(ran.code, Some(code));
        assert_eq!(ran.documents()[0]["event"], "status");
        assert_eq!(ran.documents()[0]["data"]["status"], status);
    }
}

#[tokio::test]
async fn whether_the_model_serves_is_told_with_the_reason() {
    for (decision, sentence) in [
        ("in_service", "went into service: it is better"),
        (
            "kept",
            "did not go into service: it is better; to use it anyway: `pawprint models use run-1`",
        ),
    ] {
        let mut last = ended("succeeded", None);
        last["service"] = json!({ "decision": decision, "reason": "it is better" });
        let sent = event(1, "service", &last["service"]) + &event(2, "status", &last);
        let url = serve(router(last, async move || events(sent))).await;
        let ran = run(pawprint(&url, &["watch", "run-1"])).await;
        assert_eq!(ran.stdout.lines().last(), Some(&*format!("model run-1 (m1) {sentence}")));
    }
}

#[tokio::test]
async fn an_end_that_the_stream_did_not_tell_is_noticed() {
    let last = ended("cancelled", None);
    let closed =
        serve(router(last.clone(), || async { events(event(1, "status", &job("running"))) })).await;
    let empty = serve(router(last, || async { StatusCode::NO_CONTENT })).await;
    for url in [closed, empty] {
        let ran = run(pawprint(&url, &["watch", "run-1"])).await;
        assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_job_that_is_not_there_is_not_waited_for() {
    let missing = || async { problem(404, "not_found", "there is no job `run-1`") };
    let url = serve(Router::new().route("/jobs/run-1/events", get(missing))).await;
    let ran = run(pawprint(&url, &["watch", "run-1"])).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(1), "error: there is no job `run-1`\n"));
    let ran = run(pawprint("http://127.0.0.1:1", &["watch", "run-1"])).await;
    assert_eq!(ran.code, Some(3));
}

#[tokio::test]
async fn train_sends_what_was_said_and_follows() {
    let sent = Arc::new(Mutex::new(Value::Null));
    let body = Arc::clone(&sent);
    let id = job("queued")["id"].as_str().unwrap().to_owned();
    let router = Router::new()
        .route(
            "/jobs",
            post(async move |Json(job_to_make): Json<Value>| {
                *body.lock().unwrap() = job_to_make;
                (StatusCode::ACCEPTED, Json(job("queued")))
            }),
        )
        .route(
            &format!("/jobs/{id}/events"),
            get(|| async {
                events(event(
                    1,
                    "status",
                    &ended("failed", Some(("nan_loss", "the loss is not a number"))),
                ))
            }),
        )
        .route(
            "/jobs/{job}",
            get(|| async { Json(ended("failed", Some(("nan_loss", "the loss is not a number")))) }),
        );
    let url = serve(router).await;
    let arguments = [
        "train",
        "--dataset",
        "pets",
        "--recipe",
        "scratch_cnn",
        "--epochs",
        "2",
        "--learning-rate",
        "0.01",
        "--device",
        "cpu",
    ];
    let ran = run(pawprint(&url, &arguments)).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, format!("job run-1 ({id}) is queued\n"));
    assert_eq!(
        *sent.lock().unwrap(),
        json!({
            "dataset": "pets", "recipe": "scratch_cnn",
            "params": { "epochs": 2, "learning_rate": 0.01, "device": "cpu" },
        })
    );
    let ran = run(pawprint(&url, &[&arguments[..], &["--follow"]].concat())).await;
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    let ran = run(pawprint(&url, &["train", "--dataset", "pets"])).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let default =
        json!({ "dataset": "pets", "recipe": "efficientnet_lite0_features", "params": {} });
    assert_eq!(*sent.lock().unwrap(), default);
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_alone_and_exits_with_130() {
    let endless = || async {
        let first = stream::iter([Ok::<_, Infallible>(event(1, "status", &job("running")))]);
        let body = Body::from_stream(first.chain(stream::pending()));
        ([(header::CONTENT_TYPE, "text/event-stream")], body)
    };
    let url = serve(router(job("running"), endless)).await;
    let mut command = pawprint(&url, &["watch", "run-1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "run-1 is running on cpu, fp32");
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "the job keeps running; cancel it with `pawprint cancel run-1`\n"
    );
}
