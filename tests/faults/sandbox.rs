//! A data directory, the servers that run on it one after another, and their client.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::common::process::Process;

/// Timeout of a request.
const PATIENCE: Duration = Duration::from_secs(120);

/// A data directory and the log of its servers.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// The folder that contains both.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The servers' log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// The program, logging to the shared log. Inference is not tuned at each of the many starts.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        command.stderr(self.log_file());
        command.envs([("PAWPRINT_INFERENCE_THREADS", "1"), ("PAWPRINT_INFERENCE_BATCH", "1")]);
        command
    }

    fn log_file(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.path().join("log")).unwrap()
    }

    /// Starts a server and waits until it listens.
    #[track_caller]
    pub(crate) fn start(&self) -> Process {
        self.spawn(&mut self.program())
    }

    /// Starts a server with this command.
    #[track_caller]
    pub(crate) fn spawn(&self, command: &mut Command) -> Process {
        match Process::try_spawn(command, &self.data()) {
            Ok(server) => server,
            Err(ended) => panic!("the server did not start: {ended}\n{}", self.tail()),
        }
    }

    /// The last lines of the log.
    pub(crate) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Asserts that no partial upload is left once the running requests have ended: one whose client
    /// is gone may end a moment later.
    pub(crate) async fn assert_no_partial_upload(&self) {
        let begun = Instant::now();
        loop {
            let left: Vec<_> = fs::read_dir(self.data().join("tmp")).unwrap().collect();
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{left:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asserts that no server panicked.
    #[track_caller]
    pub(crate) fn assert_no_panic(&self) {
        let log = self.log();
        let panicked = log.lines().position(|line| line.contains("panicked"));
        if let Some(at) = panicked {
            let lines: Vec<_> = log.lines().skip(at.saturating_sub(3)).take(10).collect();
            panic!("something panicked:\n{}", lines.join("\n"));
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the last lines of the servers' log:\n{}", self.tail());
        }
    }
}

/// An HTTP client of a server, for any task.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

/// A response: its status, and its JSON if it has any.
pub(crate) type Answer = (u16, Value);

impl Client {
    pub(crate) fn of(server: &Process) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        // Idle connections would count as open files of the server.
        let http = http.pool_max_idle_per_host(8).build().unwrap();
        Self { http, base: format!("http://{}", server.address()) }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a complete request.
    pub(crate) async fn execute(
        &self,
        request: reqwest::Request,
    ) -> reqwest::Result<reqwest::Response> {
        self.http.execute(request).await
    }

    /// Sends a request.
    pub(crate) async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Self::send(request).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Answer> {
        Self::send(self.request(Method::POST, path).body(body)).await
    }

    /// GETs JSON, which must succeed.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// All items of a list, over all pages.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}?limit=500{cursor}")).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// GETs bytes, which must succeed.
    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.unwrap().to_vec()
    }

    /// Sends an image to `/predict`.
    pub(crate) async fn predict(&self, query: &str, photo: Vec<u8>) -> reqwest::Result<Answer> {
        let request = self.request(Method::POST, &format!("/predict{query}"));
        Self::send(request.header("content-type", "application/octet-stream").body(photo)).await
    }
}
