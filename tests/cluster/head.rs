//! A stand-in for the head of a Ray cluster: its Jobs API, with nodes on this machine. What it does in
//! each case is what Ray 2.60 was seen to do; `make cluster-test` runs the same walk with the real one.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, task::AbortHandle};

#[derive(Debug)]
struct Job {
    status: &'static str,
    message: String,
    pid: Option<Pid>,
    submission: Value,
}

#[derive(Debug)]
struct Cluster {
    places: usize,
    jobs: BTreeMap<String, Job>,
    submissions: usize,
}

/// The head and its nodes.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    cluster: Arc<Mutex<Cluster>>,
    pub(crate) address: SocketAddr,
    server: Arc<Mutex<Option<AbortHandle>>>,
}

/// The token that the head wants.
pub(crate) const TOKEN: &str = "a-token-of-ray";

/// An address that nobody listens at.
pub(crate) async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl Head {
    /// A cluster with so many places; its head is not up yet.
    pub(crate) async fn new(places: usize) -> Self {
        let cluster = Cluster { places, jobs: BTreeMap::new(), submissions: 0 };
        Self {
            cluster: Arc::new(Mutex::new(cluster)),
            address: free_address().await,
            server: Arc::default(),
        }
    }

    pub(crate) async fn up(&self) {
        let routes = Router::new()
            .route("/api/jobs/", post(submit))
            .route("/api/jobs/{id}", get(show))
            .route("/api/jobs/{id}/stop", post(stop))
            .with_state(self.clone());
        let listener = TcpListener::bind(self.address).await.unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        *self.server.lock().unwrap() = Some(task.abort_handle());
    }

    /// The head's dashboard is gone; its nodes go on.
    pub(crate) fn down(&self) {
        self.server.lock().unwrap().take().unwrap().abort();
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    pub(crate) fn submissions(&self) -> usize {
        self.cluster().submissions
    }

    /// Ids of the jobs with that status.
    pub(crate) fn with(&self, status: &str) -> Vec<String> {
        let cluster = self.cluster();
        let of = cluster.jobs.iter().filter(|(_, job)| job.status == status);
        of.map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn submission(&self, id: &str) -> Value {
        self.cluster().jobs[id].submission.clone()
    }

    /// Ends all processes of a job without a word, as when its node is lost.
    pub(crate) fn kill(&self, id: &str) {
        self.signal(id, Signal::KILL);
    }

    /// Sends a signal to all processes of a job.
    pub(crate) fn signal(&self, id: &str, signal: Signal) {
        if let Some(pid) = self.cluster().jobs[id].pid {
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Forgets all jobs, as a head that is started again, and has so many places from then on.
    pub(crate) fn forget(&self, places: usize) {
        let mut cluster = self.cluster();
        cluster.jobs.clear();
        cluster.places = places;
    }

    fn start_waiting(&self) {
        let mut cluster = self.cluster();
        let running = cluster.jobs.values().filter(|job| job.status == "RUNNING").count();
        let free = cluster.places.saturating_sub(running);
        let waiting = cluster.jobs.iter_mut().filter(|(_, job)| job.status == "PENDING");
        for (id, job) in waiting.take(free) {
            let variables = job.submission["runtime_env"]["env_vars"].as_object().unwrap();
            let variables = variables.iter().map(|(name, value)| (name, value.as_str().unwrap()));
            let mut child = Command::new("sh")
                .args(["-c", job.submission["entrypoint"].as_str().unwrap()])
                .envs(variables)
                .stdin(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            job.status = "RUNNING";
            job.message = "Job is currently running.".to_owned();
            job.pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
            let (head, id) = (self.clone(), id.clone());
            tokio::spawn(async move {
                let ended = child.wait().await.unwrap();
                if let Some(job) = head.cluster().jobs.get_mut(&id) {
                    job.status = match job.status {
                        "STOPPED" => "STOPPED",
                        _ if ended.success() => "SUCCEEDED",
                        _ => "FAILED",
                    };
                    job.message = format!("Job entrypoint command ended: {ended}");
                    job.pid = None;
                }
                head.start_waiting();
            });
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for pid in self.jobs.values().filter_map(|job| job.pid) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

fn refused(headers: &HeaderMap) -> Option<Response> {
    let expected = format!("Bearer {TOKEN}");
    let is_allowed = headers.get("authorization").is_some_and(|token| *token == *expected);
    (!is_allowed).then(|| StatusCode::UNAUTHORIZED.into_response())
}

async fn submit(
    State(head): State<Head>,
    headers: HeaderMap,
    Json(submission): Json<Value>,
) -> Response {
    if let Some(response) = refused(&headers) {
        return response;
    }
    let id = submission["submission_id"].as_str().unwrap().to_owned();
    {
        let mut cluster = head.cluster();
        cluster.submissions += 1;
        if cluster.jobs.contains_key(&id) {
            let text = "Traceback\nValueError: Job with submission_id already exists";
            return (StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
        }
        let message = "Job has not started yet. It may be waiting for resources.".to_owned();
        cluster.jobs.insert(id.clone(), Job { status: "PENDING", message, pid: None, submission });
    }
    head.start_waiting();
    Json(json!({ "job_id": id, "submission_id": id })).into_response()
}

async fn show(State(head): State<Head>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Some(response) = refused(&headers) {
        return response;
    }
    match head.cluster().jobs.get(&id) {
        Some(job) => Json(json!({ "status": job.status, "message": job.message })).into_response(),
        None => (StatusCode::NOT_FOUND, "Job does not exist").into_response(),
    }
}

async fn stop(State(head): State<Head>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Some(response) = refused(&headers) {
        return response;
    }
    let pid = {
        let mut cluster = head.cluster();
        let Some(job) = cluster.jobs.get_mut(&id) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        // One that waits stays as it is, as in Ray.
        if job.pid.is_some() {
            job.status = "STOPPED";
        }
        job.pid
    };
    if let Some(pid) = pid {
        let _ = kill_process_group(pid, Signal::TERM);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let _ = kill_process_group(pid, Signal::KILL);
        });
    }
    Json(json!({ "stopped": true })).into_response()
}
