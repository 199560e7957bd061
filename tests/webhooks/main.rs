//! Webhooks: what is sent, to whom, and what receivers can't do.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
mod receiver;

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Server, process::Process};
use hmac::{Hmac, KeyInit as _, Mac as _};
use pawprint::{
    domain::{
        Timestamp,
        webhook::{Attempt, DeliveryStatus, Event},
    },
    storage::webhooks,
};
use receiver::{Received, Receiver};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

/// A server that may call this machine.
fn start(data_dir: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    Process::spawn(command.env("PAWPRINT_WEBHOOK_ALLOW_PRIVATE", "true"), data_dir)
}

async fn add(server: &Process, body: Value) -> Value {
    let (status, webhook) = server.post("/webhooks", body).await;
    assert_eq!(status, 201, "{webhook}");
    webhook
}

async fn deliveries(server: &Process, webhook: &Value) -> Vec<Value> {
    let id = webhook["id"].as_str().unwrap();
    let page = server.get(&format!("/webhooks/{id}/deliveries")).await;
    page["items"].as_array().unwrap().clone()
}

/// Waits for something to happen.
async fn eventually<T>(what: impl AsyncFn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = what().await {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A job that runs until the server ends: those behind it wait.
async fn long_job(server: &Process) {
    server.job(json!({ "epochs": 10_000 })).await;
}

/// Queues a job behind a long one and cancels it: it ends at once.
async fn cancelled_job(server: &Process) -> String {
    let id = server.job(json!({ "epochs": 10_000 })).await;
    let (status, job) = server.post(&format!("/jobs/{id}/cancel"), json!({})).await;
    assert_eq!(status, 202, "{job}");
    id
}

/// The signature as a receiver computes it.
fn signature(secret: &str, Received { headers, body, .. }: &Received) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let (id, timestamp) = (&headers["webhook-id"], &headers["webhook-timestamp"]);
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn the_end_of_a_job_and_a_new_model_are_told_and_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (server, receiver) = (start(folder.path()), Receiver::start());
    server.pets(4).await;
    let all = add(&server, json!({ "url": receiver.url("/ok") })).await;
    let other = receiver.url("/gone");
    add(&server, json!({ "url": other, "events": ["job.failed"] })).await;
    let secret = all["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"), "{all}");
    let id = server.job_of("efficientnet_lite0_features", json!({})).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let told = |event: &str| {
        let all = receiver.received("/ok");
        let of = |request: &&Received| {
            serde_json::from_str::<Value>(&request.body).unwrap()["type"] == event
        };
        all.iter().find(of).cloned()
    };
    let request = eventually(async || told("job.succeeded")).await;
    let Received { headers, body, .. } = &request;
    assert_eq!(headers["webhook-signature"], signature(secret, &request));
    assert_eq!(headers["content-type"], "application/json");
    let sent: i64 = headers["webhook-timestamp"].parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - sent).abs() < 60);
    let message: Value = serde_json::from_str(body).unwrap();
    assert_eq!(message["data"]["job"]["id"], json!(id));
    assert_eq!(message["data"]["job"]["status"], "succeeded");
    assert!(message["timestamp"].is_string());
    let decision = job["service"]["decision"].as_str().unwrap();
    if decision == "in_service" {
        let request = eventually(async || told("model.in_service")).await;
        let message: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(message["data"]["model"]["id"], job["model_id"]);
        assert_eq!(message["data"]["previous"]["name"], "default");
    }
    // By hand: another model, and the same again, which changes nothing.
    let before = receiver.received("/ok").len();
    for _ in 0..2 {
        let put = server.ask(Method::PUT, "/models/current", Some(json!({ "model": "default" })));
        assert_eq!(put.await.0, 200);
        if decision == "in_service" {
            eventually(async || (receiver.received("/ok").len() > before).then_some(())).await;
        }
    }
    // An alias that is set, and removed.
    for (method, body) in
        [(Method::PUT, Some(json!({ "model": "default" }))), (Method::DELETE, None)]
    {
        let (status, _) = server.ask(method, "/aliases/champion", body).await;
        assert!(status == 200 || status == 204);
    }
    let changes = eventually(async || {
        let of_type = |it: &Received| {
            let message: Value = serde_json::from_str(&it.body).unwrap();
            (message["type"] == "alias.changed").then(|| message["data"].clone())
        };
        let found: Vec<_> = receiver.received("/ok").iter().filter_map(of_type).collect();
        (found.len() == 2).then_some(found)
    })
    .await;
    let names = |change: &Value| {
        [
            change["alias"].clone(),
            change["model"]["name"].clone(),
            change["previous"]["name"].clone(),
        ]
    };
    assert_eq!(names(&changes[0]), [json!("champion"), json!("default"), Value::Null]);
    assert_eq!(names(&changes[1]), [json!("champion"), Value::Null, json!("default")]);

    let arrived = eventually(async || {
        let all = deliveries(&server, &all).await;
        all.iter().all(|it| it["status"] == "delivered").then_some(all)
    })
    .await;
    let changes = arrived.iter().filter(|it| it["event"] == "model.in_service").count();
    assert_eq!(changes, if decision == "in_service" { 2 } else { 0 }, "{arrived:?}");
    assert_eq!(arrived[0]["attempts"], 1);
    assert_eq!(arrived[0]["response_status"], 204);
    let job = arrived.iter().find(|it| it["event"] == "job.succeeded").unwrap();
    assert_eq!(job["id"], json!(headers["webhook-id"]));
    // The other one is told of failures only.
    assert!(receiver.received("/gone").is_empty());
}

/// It gets the same delivery again when it is back, also by another server.
#[tokio::test]
async fn a_receiver_that_is_down_gets_it_later_from_the_next_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path());
    server.pets(4).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let webhook = add(&server, json!({ "url": format!("http://{address}/ok") })).await;
    long_job(&server).await;
    cancelled_job(&server).await;
    let failed = eventually(async || {
        let all = deliveries(&server, &webhook).await;
        all.into_iter().find(|it| it["attempts"].as_u64() > Some(0))
    })
    .await;
    assert_eq!(failed["status"], "pending", "{failed}");
    assert_eq!(failed["response_status"], Value::Null);
    assert!(failed["error"].as_str().unwrap().contains("refused"), "{failed}");
    assert!(failed["next_attempt_at"].is_string(), "{failed}");
    server.end(rustix::process::Signal::KILL);
    let receiver = Receiver::at(&address.to_string());
    let server = start(folder.path());
    let arrived = eventually(async || receiver.received("/ok").into_iter().next()).await;
    assert_eq!(json!(arrived.headers["webhook-id"]), failed["id"]);
    let delivered = eventually(async || {
        let all = deliveries(&server, &webhook).await;
        all.into_iter().find(|it| it["status"] == "delivered")
    })
    .await;
    assert!(delivered["attempts"].as_u64() > Some(1), "{delivered}");
    assert_eq!(delivered["error"], Value::Null);
    assert_eq!(delivered["next_attempt_at"], Value::Null);
}

#[tokio::test]
async fn a_slow_receiver_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (server, receiver) = (start(folder.path()), Receiver::start());
    server.pets(4).await;
    for path in ["/slow", "/slow", "/dripping", "/endless-head"] {
        add(&server, json!({ "url": receiver.url(path) })).await;
    }
    add(&server, json!({ "url": receiver.url("/ok") })).await;
    long_job(&server).await;
    let begun = Instant::now();
    for _ in 0..3 {
        cancelled_job(&server).await;
    }
    let created = Instant::now();
    eventually(async || (receiver.received("/ok").len() >= 3).then_some(())).await;
    // Those that are slow time out after ten seconds.
    let taken = created.elapsed();
    assert!(taken < Duration::from_secs(9), "{taken:?}");
    let turns = 1 + begun.elapsed().as_secs() as usize / 10;
    assert!(receiver.received("/slow").len() <= 2 * turns, "one at a time to each");
}

/// Whatever a receiver answers, the server says what was wrong, soon and in few words.
#[tokio::test]
async fn receivers_that_lie_gain_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, receiver) = (start(folder.path()), Receiver::start());
    let tls = format!("https://{}/ok", receiver.address);
    let cases: Vec<(String, &str, Option<u16>, &str)> = vec![
        (receiver.url("/garbage"), "failed", None, ""),
        (receiver.url("/endless-success"), "delivered", Some(200), ""),
        (receiver.url("/endless-error"), "failed", Some(500), "500 Internal Server Error: endless"),
        (receiver.url("/endless-head"), "failed", None, ""),
        (receiver.url("/redirect"), "failed", Some(307), "not followed"),
        (receiver.url("/gone"), "failed", Some(410), "410 Gone"),
        (receiver.url("/busy"), "failed", Some(503), "<b>no</b>"),
        (receiver.url("/reset"), "failed", None, ""),
        (receiver.url("/reset"), "delivered", Some(200), ""),
        (receiver.url("/slow"), "failed", None, "within 10 s"),
        (tls, "failed", None, ""),
    ];
    for (url, status, response, words) in cases {
        let webhook = add(&server, json!({ "url": url })).await;
        let path = format!("/webhooks/{}/test", webhook["id"].as_str().unwrap());
        let begun = Instant::now();
        let (answered, delivery) = server.post(&path, json!({})).await;
        assert_eq!(answered, 200, "{delivery}");
        assert_eq!(delivery["status"], status, "{url}: {delivery}");
        assert_eq!(delivery["response_status"], json!(response), "{url}: {delivery}");
        let error = delivery["error"].as_str().unwrap_or_default();
        assert!(error.contains(words) && error.len() < 400, "{url}: {delivery}");
        assert_eq!(error.is_empty(), status == "delivered", "{url}: {delivery}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{url}");
        let listed = deliveries(&server, &webhook).await;
        assert_eq!(listed.len(), 1);
        assert_eq!((&listed[0]["status"], &listed[0]["attempts"]), (&json!(status), &json!(1)));
    }
    assert!(receiver.received("/ok").is_empty(), "a redirect was followed");
    assert!(server.anonymous_bytes() < 2 << 30);
}

/// What waits is kept, however many others were delivered since; of both, the newest 500.
#[tokio::test]
async fn a_delivery_that_waits_makes_no_room_for_those_that_have_arrived() {
    let server = Server::start().await;
    let added = server.json("POST", "/webhooks", json!({ "url": "https://example.org/" })).await;
    let id = added.json()["id"].as_str().unwrap().parse().unwrap();
    let mut transaction = server.app.storage.write().await.unwrap();
    let waits = webhooks::enqueue(&mut transaction, id, Event::Test, json!({})).await.unwrap();
    let attempt =
        Attempt { at: Timestamp::now(), response_status: Some(200), seconds: 0.1, error: None };
    let delivered = DeliveryStatus::Delivered;
    for _ in 0..510 {
        let done = webhooks::enqueue(&mut transaction, id, Event::Test, json!({})).await.unwrap();
        webhooks::attempted(&mut transaction, done, 1, &attempt, delivered, None).await.unwrap();
    }
    let next = webhooks::enqueue(&mut transaction, id, Event::Test, json!({})).await.unwrap();
    let all = webhooks::deliveries(&mut transaction, id, None, 2_000).await.unwrap().items;
    assert_eq!(all.iter().filter(|it| it.status == delivered).count(), 500);
    let waiting: Vec<_> = all.iter().filter(|it| it.status != delivered).map(|it| it.id).collect();
    assert_eq!(waiting, [next, waits]);
    for _ in 0..499 {
        webhooks::enqueue(&mut transaction, id, Event::Test, json!({})).await.unwrap();
    }
    let all = webhooks::deliveries(&mut transaction, id, None, 2_000).await.unwrap().items;
    let waiting: Vec<_> = all.iter().filter(|it| it.status != delivered).map(|it| it.id).collect();
    // The oldest of 501 made room.
    assert_eq!((waiting.len(), waiting.last()), (500, Some(&next)));
}

#[tokio::test]
async fn only_public_addresses_are_called() {
    let server = Server::start().await;
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a00:1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://[fd00::1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://0.0.0.0/",
    ] {
        let answer = server.json("POST", "/webhooks", json!({ "url": url })).await;
        let problem = answer.problem(422, "invalid_value");
        assert_eq!(problem["field"], "url");
        assert!(problem["detail"].as_str().unwrap().contains("not a public address"), "{problem}");
    }
    // What a name stands for is known when it is connected to.
    let added = server.json("POST", "/webhooks", json!({ "url": "http://localhost:9/" })).await;
    assert_eq!(added.status, 201);
    let path = format!("/webhooks/{}/test", added.json()["id"].as_str().unwrap());
    let delivery = server.json("POST", &path, json!({})).await.ok();
    assert_eq!(delivery["status"], "failed");
    let error = delivery["error"].as_str().unwrap();
    assert!(error.contains("localhost is not a public address"), "{error}");
}

#[tokio::test]
async fn what_no_webhook_can_have_is_refused() {
    let server = Server::start().await;
    let url = "https://example.org/hook";
    for (body, field) in [
        (json!({ "url": "" }), "url"),
        (json!({ "url": "example.org" }), "url"),
        (json!({ "url": "ftp://example.org/" }), "url"),
        (json!({ "url": "https://me:secret@example.org/" }), "url"),
        (json!({ "url": format!("https://example.org/{}", "x".repeat(3000)) }), "url"),
        (json!({ "url": url, "events": [] }), "events"),
        (json!({ "url": url, "events": ["webhook.test"] }), "events"),
        (json!({ "url": url, "secret": "short" }), "secret"),
    ] {
        let answer = server.json("POST", "/webhooks", body).await;
        assert_eq!(answer.problem(422, "invalid_value")["field"], field);
    }
    for body in [json!({}), json!({ "url": 1 }), json!({ "url": url, "events": ["x"] })] {
        server.json("POST", "/webhooks", body).await.problem(422, "invalid_value");
    }
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let added = server.json("POST", "/webhooks", json!({ "url": url, "secret": secret })).await;
    let added = added.json();
    assert_eq!(added["secret"], secret);
    let path = format!("/webhooks/{}", added["id"].as_str().unwrap());
    let shown = server.get(&path).await.ok();
    assert_eq!(shown["url"], url);
    assert_eq!(shown.get("secret"), None);
    let list = server.get("/webhooks").await.ok();
    assert!(!list.to_string().contains(secret));
    assert_eq!(server.delete(&path).await.status, 204);
    server.delete(&path).await.problem(404, "not_found");
    server.get("/webhooks/none").await.problem(404, "not_found");
    server.get(&format!("{path}/deliveries")).await.problem(404, "not_found");
    for number in 0..50 {
        let body = json!({ "url": format!("{url}/{number}") });
        assert_eq!(server.json("POST", "/webhooks", body).await.status, 201);
    }
    let answer = server.json("POST", "/webhooks", json!({ "url": url })).await;
    answer.problem(409, "too_many");
}
