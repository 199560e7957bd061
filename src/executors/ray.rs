//! Ray, through the REST interface of its jobs. What it does in trouble was tried with Ray 2.60.

use std::{collections::HashMap, path::Path, time::Duration};

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

use super::{
    protocol::TOKEN_VARIABLE,
    submission::{ClusterError, Status, Submission, last_line},
};
use crate::{config::token_file, domain::excerpt::Excerpt, error_chain::root_cause};

/// While its control store is gone, the dashboard answers some requests and lets others hang.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum bytes of a response: what is longer is not Ray's.
const MAX_RESPONSE: usize = 4 << 20;
/// Seconds that a trainer has to save its state when it is stopped.
const STOP_SECONDS: u32 = 60;

/// A Ray cluster.
#[derive(Debug)]
pub struct Ray {
    http: reqwest::Client,
    address: Url,
    token: Option<String>,
}

/// Ray's response to a submission.
#[derive(Debug, Deserialize)]
struct Submitted {
    submission_id: String,
}

/// What Ray says of a job.
#[derive(Debug, Deserialize)]
struct JobDetails {
    status: String,
    message: Option<String>,
}

impl Ray {
    /// The cluster whose dashboard is at `address`, with the token in that file.
    ///
    /// # Errors
    /// The file can't be read, or no HTTP client can be created.
    pub fn new(address: Url, token_file: Option<&Path>) -> anyhow::Result<Self> {
        // An error only means that a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let token = token_file.map(token_file::read).transpose()?;
        Ok(Self {
            http: reqwest::Client::builder()
                .timeout(TIMEOUT)
                .connect_timeout(TIMEOUT)
                // The cluster is not behind the proxy that the Internet is behind.
                .no_proxy()
                .build()?,
            address,
            token: token.and_then(|tokens| tokens.into_iter().next()),
        })
    }

    pub(super) fn page(&self, id: &str) -> String {
        format!("{}#/jobs/{id}", self.address)
    }

    pub(super) async fn submit(&self, submission: &Submission) -> Result<String, ClusterError> {
        let id = submission.attempt.to_string();
        let variables = HashMap::from([
            (TOKEN_VARIABLE, submission.token.as_str().to_owned()),
            ("RAY_JOB_STOP_WAIT_TIME_S", STOP_SECONDS.to_string()),
        ]);
        let resources = submission.resources;
        let body = json!({
            "entrypoint": submission.command(),
            "submission_id": id,
            "runtime_env": { "env_vars": variables },
            "metadata": { "job_name": submission.name.to_string(), "pawprint": "trainer" },
            "entrypoint_num_cpus": resources.cpus,
            "entrypoint_num_gpus": resources.gpus,
            "entrypoint_memory": resources.memory,
        });
        // The slash at the end counts.
        let request = self.request(Method::POST, "api/jobs/")?.json(&body);
        match self.submitted(request, &id).await {
            Ok(()) => Ok(id),
            // Ray answers 500 for an id that it has: it was submitted before.
            Err(ClusterError::Unreachable(why)) => match self.status(&id).await {
                Ok(Status::Unknown) | Err(_) => Err(ClusterError::Unreachable(why)),
                Ok(_) => Ok(id),
            },
            Err(refused) => Err(refused),
        }
    }

    pub(super) async fn status(&self, id: &str) -> Result<Status, ClusterError> {
        let request = self.request(Method::GET, &format!("api/jobs/{id}"))?;
        let (status, text) = self.exchange(request).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Status::Unknown);
        }
        self.check(status, &text)?;
        let JobDetails { status, message } = serde_json::from_str(&text)
            .map_err(|error| ClusterError::Unreachable(self.unreadable(&error.to_string())))?;
        let message =
            message.map(|text| last_line(&text).to_owned()).filter(|text| !text.is_empty());
        match status.as_str() {
            "PENDING" => Ok(Status::Waiting(message)),
            "RUNNING" => Ok(Status::Running),
            "SUCCEEDED" | "FAILED" | "STOPPED" => Ok(Status::Ended(message)),
            other => Err(ClusterError::Unreachable(self.unreadable(&format!("status {other}")))),
        }
    }

    pub(super) async fn stop(&self, id: &str) -> Result<(), ClusterError> {
        let request = self.request(Method::POST, &format!("api/jobs/{id}/stop"))?;
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ClusterError> {
        let url = self.address.join(path);
        let url = url.map_err(|error| ClusterError::Refused(error.to_string()))?;
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    /// Sends a submission; whatever is not Ray's answer to it comes from somebody else.
    async fn submitted(&self, request: RequestBuilder, id: &str) -> Result<(), ClusterError> {
        let (status, text) = self.exchange(request).await?;
        if status == StatusCode::NOT_FOUND {
            let address = &self.address;
            let why = format!("{address} has no Jobs API of Ray; check --ray-address");
            return Err(ClusterError::Unreachable(why));
        }
        self.check(status, &text)?;
        let Ok(Submitted { submission_id }) = serde_json::from_str(&text) else {
            let why = self.unreadable("it is no response to a submission");
            return Err(ClusterError::Unreachable(why));
        };
        if submission_id == id {
            Ok(())
        } else {
            Err(ClusterError::Unreachable(self.unreadable("it names another job")))
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<(), ClusterError> {
        let (status, text) = self.exchange(request).await?;
        self.check(status, &text)
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, String), ClusterError> {
        let address = &self.address;
        let unreachable = |error: reqwest::Error| {
            let why = root_cause(&error);
            ClusterError::Unreachable(format!("can't reach Ray at {address}: {why}"))
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let (status, mut bytes) = (response.status(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_RESPONSE {
                let why = self.unreadable("it is too large");
                return Err(ClusterError::Unreachable(why));
            }
        }
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn check(&self, status: StatusCode, text: &str) -> Result<(), ClusterError> {
        if status.is_success() {
            return Ok(());
        }
        let address = &self.address;
        let why = format!("Ray at {address} returned {status}: {}", Excerpt(last_line(text)));
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ClusterError::Refused(format!(
                "Ray at {address} refused the token ({status}); check --ray-token-file (PAWPRINT_RAY_TOKEN_FILE)"
            )),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                ClusterError::Unreachable(why)
            }
            _ if status.is_client_error() => ClusterError::Refused(why),
            _ => ClusterError::Unreachable(why),
        })
    }

    fn unreadable(&self, why: &str) -> String {
        format!("can't parse the response of Ray at {}: {why}", self.address)
    }
}
