//! Requests to the server, until they are answered: it may be away for a while.

use std::{fs::File, io::Write as _, path::Path, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};

use crate::{
    domain::dataset::Digest,
    error_chain::chain,
    executors::protocol::{
        Acknowledgement, Complete, Hello, Received, Reports, SESSION, TOKEN_VARIABLE, Welcome,
    },
};

/// How long a server may be silent within a response. Events may take long to be saved, on a full disk.
const SILENCE: Duration = Duration::from_secs(120);
/// How long the server may be away, after which the job must be somebody else's.
const GIVE_UP: Duration = Duration::from_secs(3600);
/// The pause after a failure grows from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// The server will not answer any more.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Lost {
    /// The attempt has ended: cancelled, or replaced by another.
    #[error("the server has ended this attempt")]
    Ended,
    /// The server was away for too long.
    #[error("the server did not answer for an hour: {0}")]
    Away(String),
    /// The server refused a request.
    #[error("the server refused a request: {0}")]
    Refused(String),
}

/// The server's side of one attempt.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    http: reqwest::Client,
    url: Url,
    token: String,
    /// Once the server knows this process.
    session: Option<u64>,
}

/// A response that is no success.
#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    detail: String,
    /// With `wrong_offset`.
    bytes: Option<u64>,
}

/// How a request has ended.
enum Failure {
    /// To be repeated.
    Passing(String),
    Final(Lost),
    /// The server has this many bytes of a file.
    Offset(u64),
    /// What was uploaded does not match its hash.
    Hash,
}

impl Connection {
    /// To the attempt at `url`, with the token in the environment.
    pub(super) fn new(url: Url) -> anyhow::Result<Self> {
        let token = std::env::var(TOKEN_VARIABLE).with_context(|| {
            format!("{TOKEN_VARIABLE} is not set: the server starts trainers with it")
        })?;
        // An error only means that a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("pawprint-trainer/", env!("CARGO_PKG_VERSION")))
            // Large files take long; what counts is that bytes arrive.
            .read_timeout(SILENCE)
            .connect_timeout(Duration::from_secs(10))
            .no_proxy();
        if url.scheme() == "http" {
            // The node may have no certificates, and none is needed.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self { http: builder.build()?, url, token, session: None })
    }

    /// Introduces this process; all further requests are those of its session.
    pub(super) async fn hello(&mut self, hello: &Hello) -> Result<Welcome, Lost> {
        let welcome: Welcome = self.post("hello", hello).await?;
        self.session = Some(welcome.session);
        Ok(welcome)
    }

    pub(super) async fn reports(&self, reports: &Reports) -> Result<Acknowledgement, Lost> {
        self.post("reports", reports).await
    }

    /// The bytes of an image.
    pub(super) async fn image(&self, digest: &Digest) -> Result<Bytes, Lost> {
        let path = &format!("images/{digest}");
        let get = || async move { bytes_of(self.request(Method::GET, path)?).await };
        until_answered(get).await
    }

    /// Writes a file of the job's folder to `to`.
    pub(super) async fn file(&self, name: &str, to: &Path) -> Result<(), Lost> {
        let path = &format!("files/{name}");
        let disk = |error: std::io::Error| {
            refused(format!("can't write {} on this node: {error}", to.display()))
        };
        let get = || async move {
            let mut response = answered(self.request(Method::GET, path)?).await?;
            let mut file = File::create(to).map_err(disk)?;
            while let Some(chunk) = response.chunk().await.map_err(passing)? {
                file.write_all(&chunk).map_err(disk)?;
            }
            Ok(())
        };
        until_answered(get).await
    }

    /// Sends a part of a file; returns how many bytes of it the server has now.
    pub(super) async fn part(&self, name: &str, offset: u64, part: Bytes) -> Result<u64, Lost> {
        let (path, part) = (&format!("files/{name}?offset={offset}"), &part);
        let post = || async move {
            let request = self.request(Method::POST, path)?.body(part.clone());
            match bytes_of(request).await {
                Ok(bytes) => Ok(parsed::<Received>(&bytes)?.bytes),
                // The response to an earlier try was lost.
                Err(Failure::Offset(bytes)) => Ok(bytes),
                Err(failure) => Err(failure),
            }
        };
        until_answered(post).await
    }

    /// Puts a file that was sent in its place; `false` if it must be sent again.
    pub(super) async fn complete(&self, name: &str, sha256: Digest) -> Result<bool, Lost> {
        let path = &format!("files/{name}");
        let put = || async move {
            let request = self.request(Method::PUT, path)?.json(&Complete { sha256 });
            match bytes_of(request).await {
                Ok(_) => Ok(true),
                Err(Failure::Hash) => Ok(false),
                Err(failure) => Err(failure),
            }
        };
        until_answered(put).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Lost> {
        let post = || async move {
            let request = self.request(Method::POST, path)?.json(body);
            parsed(&bytes_of(request).await?)
        };
        until_answered(post).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.url.join(path).map_err(|error| refused(error.to_string()))?;
        let request = self.http.request(method, url).bearer_auth(&self.token);
        Ok(match self.session {
            Some(session) => request.header(SESSION, session),
            None => request,
        })
    }
}

/// Repeats a request until it is answered.
async fn until_answered<T, F>(request: impl Fn() -> F) -> Result<T, Lost>
where
    F: Future<Output = Result<T, Failure>>,
{
    let give_up = Instant::now() + GIVE_UP;
    let mut pause = PAUSE.0;
    loop {
        let why = match request().await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Final(lost)) => return Err(lost),
            Err(Failure::Passing(why)) => why,
            Err(Failure::Offset(_) | Failure::Hash) => "unexpected response".to_owned(),
        };
        if Instant::now() >= give_up {
            return Err(Lost::Away(why));
        }
        tracing::warn!(why, seconds = pause.as_secs_f64(), "the server did not answer; retrying");
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

fn passing(error: reqwest::Error) -> Failure {
    Failure::Passing(chain(&error.without_url()))
}

fn refused(why: String) -> Failure {
    Failure::Final(Lost::Refused(why))
}

async fn bytes_of(request: RequestBuilder) -> Result<Bytes, Failure> {
    answered(request).await?.bytes().await.map_err(passing)
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| refused(format!("can't parse its response: {error}")))
}

/// A successful response.
async fn answered(request: RequestBuilder) -> Result<reqwest::Response, Failure> {
    let response = request.send().await.map_err(passing)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.bytes().await.map_err(passing)?;
    let problem = serde_json::from_slice::<Problem>(&body).unwrap_or_else(|_| Problem {
        // A proxy's response, as while the server is away.
        code: String::new(),
        detail: status.to_string(),
        bytes: None,
    });
    Err(match (status, &*problem.code) {
        // The job may have been deleted, and with it the attempt.
        (_, "attempt_ended" | "no_such_attempt") => Failure::Final(Lost::Ended),
        (_, "wrong_hash") => Failure::Hash,
        (_, "wrong_offset") => Failure::Offset(problem.bytes.unwrap_or_default()),
        (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS, _) | (_, "") => {
            Failure::Passing(problem.detail)
        }
        _ if status.is_client_error() => refused(format!("{} ({status})", problem.detail)),
        _ => Failure::Passing(problem.detail),
    })
}
