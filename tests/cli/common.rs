//! The fake server, the program, and what every command has in common: the server's address, the
//! token, errors and exit codes.

use std::process::Stdio;

use axum::{
    Json, Router,
    body::Body,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

/// Serves `router` on a free port for the rest of the test, and says where.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A problem as the server writes it.
pub(crate) fn problem(status: u16, code: &str, detail: &str) -> Response {
    let body = json!({ "type": "about:blank", "title": "-", "status": status, "code": code, "detail": detail });
    (
        StatusCode::from_u16(status).unwrap(),
        [("content-type", "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

/// A list of one page.
pub(crate) fn page(items: &Value) -> Json<Value> {
    Json(json!({ "items": items, "next_cursor": null }))
}

/// A job as the server shows it.
pub(crate) fn job(status: &str) -> Value {
    json!({
        "id": "0198c0de-0000-7000-8000-000000000001", "name": "run-1", "recipe": "scratch_cnn",
        "dataset": "pets", "dataset_version": "00", "params": {}, "status": status,
        "progress": { "phase": "training", "epoch": 3, "epochs": 30, "step": 1, "steps": 9, "eta_seconds": null },
        "best": { "epoch": 2, "val_loss": 0.5, "val_accuracy": 0.75 },
        "device": "cpu", "precision": "fp32", "attempts": 1, "error": null, "model_id": null,
        "created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:01Z", "finished_at": null,
    })
}

/// The program, told where the server is.
pub(crate) fn pawprint(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command
        .args(arguments)
        .env_remove("PAWPRINT_API_TOKEN")
        .env_remove("PAWPRINT_LISTEN")
        .env("PAWPRINT_SERVER", url)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What a finished program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output, a JSON document a line.
    pub(crate) fn documents(&self) -> Vec<Value> {
        documents(&self.stdout)
    }

    /// Standard error, a JSON document a line.
    pub(crate) fn problems(&self) -> Vec<Value> {
        documents(&self.stderr)
    }
}

fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Runs a command to its end.
pub(crate) async fn run(mut command: Command) -> Ran {
    let output = command.output().await.unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An address where nobody listens.
async fn deserted() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn without_a_server_the_exit_code_is_3_and_the_message_says_what_to_do() {
    let url = deserted().await;
    let ran = run(pawprint(&url, &["jobs"])).await;
    assert_eq!(ran.code, Some(3));
    let expected = format!("error: can't connect to a Pawprint server at {url}: ");
    assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
    assert!(ran.stderr.ends_with(" (start one with `pawprint serve`)\n"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");

    let ran = run(pawprint(&url, &["jobs", "--json"])).await;
    assert_eq!((ran.code, &ran.problems()[0]["code"]), (Some(3), &json!("no_server")));
}

#[tokio::test]
async fn a_refusal_is_shown_in_the_servers_words() {
    let refuse = || async { problem(401, "unauthorized", "API token required") };
    let url = serve(Router::new().route("/jobs", get(refuse))).await;
    let ran = run(pawprint(&url, &["jobs"])).await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.stderr, "error: API token required (set PAWPRINT_API_TOKEN or --api-token)\n");
    let ran = run(pawprint(&url, &["jobs", "--json"])).await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.problems()[0]["status"], 401);
    assert_eq!(ran.problems()[0]["code"], "unauthorized");
}

#[tokio::test]
async fn what_is_not_pawprint_is_told_so() {
    let router =
        Router::new().route("/jobs", get(|| async { (StatusCode::BAD_GATEWAY, "<html>") })).route(
            "/models",
            get(|| async { (StatusCode::FOUND, [("location", "https://elsewhere/models")]) }),
        );
    let url = serve(router).await;
    let ran = run(pawprint(&url, &["jobs"])).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("502 Bad Gateway"), "{}", ran.stderr);
    let ran = run(pawprint(&url, &["models"])).await;
    assert!(ran.stderr.contains("redirects to https://elsewhere/models"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_token_is_sent_and_proxies_are_left_alone_on_loopback() {
    let router = Router::new().route(
        "/models",
        get(|headers: HeaderMap| async move {
            let token =
                headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            match token.as_deref() {
                Some("Bearer s3cret") => page(&json!([])).into_response(),
                other => problem(401, "unauthorized", other.unwrap_or("none")),
            }
        }),
    );
    let url = serve(router).await;
    let mut command = pawprint(&url, &["models", "--json"]);
    command.env("PAWPRINT_API_TOKEN", "s3cret");
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(proxy, "http://127.0.0.1:1");
    }
    command.env_remove("no_proxy").env_remove("NO_PROXY");
    let ran = run(command).await;
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "[]\n"), "{}", ran.stderr);

    let mut command = pawprint(&url, &["models"]);
    command.env("PAWPRINT_API_TOKEN", "");
    assert!(run(command).await.stderr.contains("none"));
}

#[tokio::test]
async fn wrong_usage_exits_with_2() {
    for arguments in [
        &["jobs", "--no-such-flag"][..],
        &["jobs", "--status", "done"],
        &["watch", "../datasets"],
        &["predict"],
        &["models", "--server", "ftp://host"],
        &["serve", "--listen", "0.0.0.0:0"],
        &["serve", "--listen", "[::]:0"],
        &["serve", "--listen", "8080"],
        &["serve", "--listen", ":8080"],
        &["serve", "--listen", "::1:8080"],
        &["healthcheck", "--listen", "localhost"],
    ] {
        let ran = run(pawprint("http://127.0.0.1:1", arguments)).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_reader_who_has_left_ends_the_program_quietly() {
    let many: Vec<_> = (0..5_000).map(|_| job("queued")).collect();
    let url = serve(Router::new().route("/jobs", get(async move || page(&json!(many))))).await;
    for arguments in [&["jobs", "--limit", "5000"][..], &["jobs", "--limit", "5000", "--json"]] {
        let mut command = pawprint(&url, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[tokio::test]
async fn a_health_check_asks_the_port_the_server_was_told_to_listen_on() {
    let url = serve(Router::new().route("/healthz", get(|| async { "ok" }))).await;
    let port = url.rsplit(':').next().unwrap();
    // The server above has one of the addresses of `localhost`.
    for host in ["127.0.0.1", "0.0.0.0", "localhost"] {
        let mut command = pawprint(&url, &["healthcheck"]);
        command.env("PAWPRINT_LISTEN", format!("{host}:{port}"));
        let ran = run(command).await;
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    }

    let ill = serve(
        Router::new().fallback(|| async { (StatusCode::SERVICE_UNAVAILABLE, Body::empty()) }),
    )
    .await;
    for url in [ill, deserted().await] {
        let mut command = pawprint(&url, &["healthcheck"]);
        command.env("PAWPRINT_LISTEN", url.trim_start_matches("http://"));
        assert_eq!(run(command).await.code, Some(1));
    }
}

#[tokio::test]
async fn an_address_that_can_not_be_listened_on_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for (listen, said) in [
        (format!("localhost:{}", taken.port()), format!("can't listen on {taken}")),
        ("no-such-host.invalid:80".to_owned(), "no-such-host.invalid:80".to_owned()),
    ] {
        let arguments = ["serve", "--listen", &listen, "--data-dir", folder];
        let ran = run(pawprint("http://127.0.0.1:1", &arguments)).await;
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(&said) && ran.stderr.contains("--listen"), "{}", ran.stderr);
    }
}
