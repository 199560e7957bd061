//! What the server takes from a trainer, and from whom.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Process, Site, params, placed, until};

/// The address of an attempt, its token, and the session of a process that trains for it.
struct Attempt {
    path: String,
    token: String,
    session: Option<u64>,
}

impl Attempt {
    fn of(site: &Site, cluster_id: &str) -> Self {
        let submission = site.head.submission(cluster_id);
        let entrypoint = submission["entrypoint"].as_str().unwrap();
        let at = entrypoint.find("/internal/").unwrap();
        let path = entrypoint[at..].split('\'').next().unwrap().to_owned();
        let variables = &submission["runtime_env"]["env_vars"];
        let token = variables["PAWPRINT_ATTEMPT_TOKEN"].as_str().unwrap().to_owned();
        Self { path, token, session: None }
    }

    /// Introduces this test as the trainer.
    async fn introduce(&mut self, server: &Process) {
        let hello = json!({ "node": "test" }).to_string();
        let (status, welcome) = self.send(server, Method::POST, "hello", hello).await;
        assert_eq!(status, 200, "{welcome}");
        self.session = welcome["session"].as_u64();
    }

    async fn send(
        &self,
        server: &Process,
        method: Method,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let request = server.request(method, &format!("{}{path}", self.path));
        let request = request.bearer_auth(&self.token).header("content-type", "application/json");
        let request = match self.session {
            Some(session) => request.header("pawprint-session", session),
            None => request,
        };
        let response = request.body(body).send().await.unwrap();
        let status = response.status();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn report(&self, server: &Process, reports: Value) -> (StatusCode, Value) {
        self.send(server, Method::POST, "reports", reports.to_string()).await
    }
}

fn refused((status, body): (StatusCode, Value), expected: u16, code: &str) {
    assert_eq!((status.as_u16(), &body["code"]), (expected, &json!(code)), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_trainer_of_an_attempt_gets_and_gives() {
    let site = Site::new(1).await;
    site.head.up().await;
    let server = site.start(&[]);
    server.pets(8).await;
    let id = server.job(params(1000)).await;
    server.epoch(&id, 1).await;
    let cluster_id = site.head.with("RUNNING").remove(0);
    let mut attempt = Attempt::of(&site, &cluster_id);

    // Of two processes of the same attempt only the newer one is heard; the other one ends.
    refused(attempt.report(&server, json!({ "events": [] })).await, 409, "attempt_ended");
    attempt.introduce(&server).await;
    until("the end of the first process", || site.head.with("RUNNING").is_empty()).await;
    let (status, _) = attempt.send(&server, Method::GET, "files/spec.json", "").await;
    assert_eq!(status, 200);
    for name in ["files/log.txt", "files/..%2F..%2Fpawprint.sqlite", "files/model.safetensors"] {
        refused(attempt.send(&server, Method::GET, name, "").await, 404, "not_found");
    }
    let foreign = format!("images/{}", "0".repeat(64));
    refused(attempt.send(&server, Method::GET, &foreign, "").await, 404, "not_found");
    for name in ["files/spec.json", "files/checkpoints/x", "files/..%2Fmodel.safetensors"] {
        let sent = attempt.send(&server, Method::POST, &format!("{name}?offset=0"), "x").await;
        refused(sent, 404, "not_found");
    }
    let too_large = vec![0; (8 << 20) + 1];
    let sent = attempt.send(&server, Method::POST, "files/model.safetensors?offset=0", too_large);
    refused(sent.await, 413, "too_large");
    let sent = attempt.send(&server, Method::POST, "files/model.safetensors?offset=7", "x").await;
    refused(sent, 416, "wrong_offset");
    attempt.send(&server, Method::POST, "files/model.safetensors?offset=0", "half").await;
    let complete = json!({ "sha256": "0".repeat(64) }).to_string();
    let sent = attempt.send(&server, Method::PUT, "files/model.safetensors", complete).await;
    refused(sent, 422, "wrong_hash");
    assert!(!server.folder(&id).join("model.safetensors").exists());
    for body in
        ["", "{", "{\"events\":[{\"sequence\":-1,\"event\":{\"event\":\"finished\"}}]}", "[]"]
    {
        let (status, body) = attempt.send(&server, Method::POST, "reports", body).await;
        assert!(status.is_client_error(), "{status} {body}");
    }

    let wrong =
        Attempt { token: "wrong".to_owned(), path: attempt.path.clone(), session: attempt.session };
    refused(wrong.report(&server, json!({ "events": [] })).await, 401, "unauthorized");
    let other = attempt.path.replace(&id, &uuid::Uuid::now_v7().to_string());
    let other = Attempt { token: attempt.token.clone(), path: other, session: attempt.session };
    refused(other.report(&server, json!({ "events": [] })).await, 404, "no_such_attempt");

    // An old event again: acknowledged, and not counted.
    let before = server.get(&format!("/jobs/{id}")).await["status"].clone();
    let old = json!({ "events": [{ "sequence": 0, "event": { "event": "cancelled" } }] });
    let (status, acknowledged) = attempt.report(&server, old).await;
    assert_eq!(status, 200, "{acknowledged}");
    assert!(acknowledged["next_sequence"].as_u64().unwrap() > 0);
    assert_eq!(server.get(&format!("/jobs/{id}")).await["status"], before);

    // It is silent, the cluster says that it has ended, and another attempt runs: the first one can say
    // nothing any more.
    placed(&server, &id, |it| it["id"] != cluster_id.as_str() && it["state"] == "running").await;
    let late = json!({ "events": [{ "sequence": 9999, "event": { "event": "cancelled" } }] });
    refused(attempt.report(&server, late).await, 409, "attempt_ended");
    let sent = attempt.send(&server, Method::POST, "files/evaluation.json?offset=0", "{}").await;
    refused(sent, 409, "attempt_ended");
    refused(attempt.send(&server, Method::GET, "files/spec.json", "").await, 409, "attempt_ended");
    server.epoch(&id, 3).await;
    let (status, _) = server.post(&format!("/jobs/{id}/stop"), Value::Null).await;
    assert_eq!(status, 202);
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
}
