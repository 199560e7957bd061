//! A server as a user starts it: the built binary, in a process of its own that can be killed.
#![allow(clippy::panic, clippy::expect_used, reason = "a test that can't go on may stop there")]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Method, Response};
use serde_json::{Value, json};

/// How long anything may take before the test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A running server.
pub struct Process {
    child: Child,
    base: String,
    http: reqwest::Client,
    data_dir: PathBuf,
}

impl Process {
    /// Starts a server on `data_dir` and waits until it listens.
    pub fn start(data_dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        Self::spawn(&mut command, data_dir)
    }

    /// As [`Process::start`], where another server was.
    pub fn start_at(data_dir: &Path, address: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        Self::spawn(command.env("PAWPRINT_LISTEN", address), data_dir)
    }

    /// As [`Process::start`], behind a command that runs the one it is given.
    pub fn spawn(command: &mut Command, data_dir: &Path) -> Self {
        Self::try_spawn(command, data_dir).unwrap_or_else(|ended| panic!("no server: {ended}"))
    }

    /// As [`Process::spawn`]; or how the process ended that did not come to listen.
    pub fn try_spawn(command: &mut Command, data_dir: &Path) -> Result<Self, ExitStatus> {
        if command.get_envs().all(|(name, _)| name != "PAWPRINT_LISTEN") {
            command.env("PAWPRINT_LISTEN", "127.0.0.1:0");
        }
        command.args(["serve", "--trainer-threads", "1", "--data-dir"]).arg(data_dir);
        Self::try_run(command, data_dir)
    }

    /// Runs a command that starts a server on `data_dir` with settings of its own.
    pub fn try_run(command: &mut Command, data_dir: &Path) -> Result<Self, ExitStatus> {
        // Its answers must not change while a test compares them.
        if command.get_envs().all(|(name, _)| name != "PAWPRINT_INFERENCE_ENGINE") {
            command.env("PAWPRINT_INFERENCE_ENGINE", "libtorch");
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(base) = line.trim().strip_prefix("listening on ") else {
            return Err(child.wait().unwrap());
        };
        Ok(Self {
            base: base.to_owned(),
            child,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            data_dir: data_dir.to_owned(),
        })
    }

    /// A server with two models of one epoch each, and their names.
    pub async fn with_models(data_dir: &Path) -> (Self, Vec<String>) {
        let server = Self::start(data_dir);
        server.pets(4).await;
        let mut names = Vec::new();
        for seed in [1, 2] {
            let id = server.job(json!({ "epochs": 1, "batch_size": 8, "seed": seed })).await;
            let job = server.ended(&id).await;
            assert_eq!(job["status"], "succeeded", "{job}");
            names.push(job["name"].as_str().unwrap().to_owned());
        }
        (server, names)
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Its address, as a URL.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Its address, as `host:port`.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request and gives its status and JSON.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Makes the dataset `pets` with `train` training photos of each class, and half as many to
    /// validate and to test.
    pub async fn pets(&self, train: u32) {
        let (status, body) = self.post("/datasets", json!({ "name": "pets" })).await;
        assert_eq!(status, 201, "{body}");
        let archive = super::tar(&photos(train));
        let request = self.request(Method::POST, "/datasets/pets/archive").body(archive);
        let (status, body) = answer(request.send().await.unwrap()).await;
        assert_eq!((status, &body["added"]), (200, &json!(train * 4)), "{body}");
    }

    /// Starts a job of `scratch_cnn` and gives its id.
    pub async fn job(&self, params: Value) -> String {
        self.job_of("scratch_cnn", params).await
    }

    /// Starts a job of that recipe and gives its id.
    pub async fn job_of(&self, recipe: &str, params: Value) -> String {
        let body = json!({ "recipe": recipe, "dataset": "pets", "params": params });
        let (status, body) = self.post("/jobs", body).await;
        assert_eq!(status, 202, "{body}");
        body["id"].as_str().unwrap().to_owned()
    }

    /// Reads a job's events until `wanted` gives something.
    pub async fn event<T>(
        &self,
        job: &str,
        mut wanted: impl FnMut(&str, &Value) -> Option<T>,
    ) -> T {
        let read = async {
            let mut response =
                self.request(Method::GET, &format!("/jobs/{job}/events")).send().await.unwrap();
            let mut text = String::new();
            while let Some(chunk) = response.chunk().await.unwrap() {
                text.push_str(std::str::from_utf8(&chunk).unwrap());
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let field = |name| {
                        event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
                    };
                    let found = field("event:").zip(field("data:")).and_then(|(kind, data)| {
                        wanted(kind, &serde_json::from_str(data).unwrap())
                    });
                    if let Some(found) = found {
                        return found;
                    }
                    text = rest.to_owned();
                }
            }
            panic!("the events of {job} ended without the one that was waited for");
        };
        tokio::time::timeout(PATIENCE, read).await.expect("no such event in time")
    }

    /// Waits until that epoch is complete.
    pub async fn epoch(&self, job: &str, number: u64) {
        self.event(job, |kind, data| (kind == "epoch" && data["epoch"] == number).then_some(()))
            .await;
    }

    /// Waits until the job is over, and gives it.
    pub async fn ended(&self, job: &str) -> Value {
        let over = ["succeeded", "failed", "cancelled", "interrupted"];
        let begun = Instant::now();
        loop {
            // The events end when the job is over.
            let events =
                self.request(Method::GET, &format!("/jobs/{job}/events")).send().await.unwrap();
            let _ =
                tokio::time::timeout(PATIENCE, events.bytes()).await.expect("the job never ends");
            let job = self.get(&format!("/jobs/{job}")).await;
            if over.iter().any(|status| job["status"] == *status) {
                return job;
            }
            assert!(begun.elapsed() < PATIENCE, "{job}");
        }
    }

    /// The numbers of the epochs in a job's metrics.
    pub async fn epochs(&self, job: &str) -> Vec<u64> {
        let metrics = self.get(&format!("/jobs/{job}/metrics")).await;
        metrics["epochs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|epoch| epoch["epoch"].as_u64().unwrap())
            .collect()
    }

    /// The weights of a finished job's model, by name.
    pub async fn weights(&self, job: &Value) -> Vec<(String, Vec<u8>)> {
        let path = format!("/models/{}/download", job["model_id"].as_str().unwrap());
        let bytes = self.request(Method::GET, &path).send().await.unwrap().bytes().await.unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensors =
            file.tensors().into_iter().map(|(name, tensor)| (name, tensor.data().to_vec()));
        let mut weights: Vec<_> = tensors.collect();
        weights.sort();
        weights
    }

    /// Processes that train `job`.
    pub fn trainers(job: &str) -> Vec<i32> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let command = std::fs::read(entry.path().join("cmdline")).ok()?;
                let command = String::from_utf8_lossy(&command);
                (command.contains("trainer\0") && command.contains(job)).then_some(pid)
            })
            .collect()
    }

    /// The job's folder.
    pub fn folder(&self, job: &str) -> PathBuf {
        self.data_dir.join("jobs").join(job)
    }

    /// Bytes of memory that the server itself has and no file does.
    pub fn anonymous_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Bytes of the memory budget that are reserved.
    pub async fn reserved_bytes(&self) -> u64 {
        let response = self.request(Method::GET, "/metrics").send().await.unwrap();
        let text = response.text().await.unwrap();
        let name = "pawprint_memory_reserved_bytes ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        kill(self.child.id().cast_signed(), signal);
    }

    /// Sends the signal and waits for the end; gives whether it was a success.
    pub fn end(&mut self, signal: rustix::process::Signal) -> bool {
        self.signal(signal);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that may have ended.
pub fn kill(pid: i32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Photos that a network can tell apart: cats are striped across, dogs down.
pub fn photos(train: u32) -> Vec<(&'static str, Vec<u8>)> {
    let mut photos = Vec::new();
    let mut number = 0;
    for (split, count) in [("train", train), ("validation", train / 2), ("test", train / 2)] {
        for class in ["cat", "dog"] {
            for _ in 0..count {
                number += 1;
                let name = format!("{split}/{class}/{number}.png");
                let image = striped(number, class == "cat");
                photos.push((&*name.leak(), super::encode(image, image::ImageFormat::Png)));
            }
        }
    }
    photos
}

fn striped(number: u32, across: bool) -> image::RgbImage {
    image::RgbImage::from_fn(60, 60, |x, y| {
        let along = if across { y } else { x };
        let tone = ((along + number) / 5 % 2 * 150 + (x * y * number) % 60) as u8;
        image::Rgb([tone, tone, (number % 200) as u8])
    })
}
