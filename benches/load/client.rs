//! The images, and the requests to the server.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::{
    Method, StatusCode, header,
    multipart::{Form, Part},
};
use serde_json::Value;

/// Timeout after which a request counts as failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Result of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// A prediction was returned.
    Accepted,
    /// Rejected with 429, because the queue was full.
    Refused,
    /// Any other status, or no response.
    Failed,
}

/// Sends images in turn, over persistent connections.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    base: String,
    predict: String,
    photos: Vec<Bytes>,
    /// Whether images are sent as forms.
    form: bool,
    next: AtomicUsize,
}

impl Client {
    pub(crate) fn new(
        url: &str,
        model: Option<&str>,
        token: Option<&str>,
        form: bool,
        photos: Vec<Bytes>,
    ) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = header::HeaderMap::new();
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse()?);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .default_headers(headers)
            .timeout(TIMEOUT)
            .tcp_nodelay(true)
            .build()?;
        let base = url.trim_end_matches('/').to_owned();
        let mut predict = reqwest::Url::parse(&format!("{base}/predict"))?;
        if let Some(model) = model {
            predict.query_pairs_mut().append_pair("model", model);
        }
        let predict = predict.into();
        Ok(Self(Arc::new(Inner { http, base, predict, photos, form, next: AtomicUsize::new(0) })))
    }

    /// Requests a prediction of the next image and reads the whole response.
    pub(crate) async fn predict(&self) -> RequestOutcome {
        let Inner { http, predict, photos, form, next, .. } = &*self.0;
        let photo = photos[next.fetch_add(1, Ordering::Relaxed) % photos.len()].clone();
        let request = http.post(predict);
        let request = if *form {
            let length = photo.len() as u64;
            let part = Part::stream_with_length(photo, length).file_name("photo.jpg");
            let Ok(part) = part.mime_str("image/jpeg") else { return RequestOutcome::Failed };
            request.multipart(Form::new().part("image", part))
        } else {
            request.header(header::CONTENT_TYPE, "image/jpeg").body(photo)
        };
        let Ok(answer) = request.send().await else { return RequestOutcome::Failed };
        let status = answer.status();
        match (status, answer.bytes().await) {
            (StatusCode::OK, Ok(_)) => RequestOutcome::Accepted,
            (StatusCode::TOO_MANY_REQUESTS, _) => RequestOutcome::Refused,
            _ => RequestOutcome::Failed,
        }
    }

    /// Sends any other API request and parses the JSON of the response, if there is a body.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self.0.http.request(method, format!("{}{path}", self.0.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        anyhow::ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? })
    }

    /// Resident memory of the server in bytes, from its metrics.
    pub(crate) async fn resident_bytes(&self) -> anyhow::Result<f64> {
        let answer = self.0.http.get(format!("{}/metrics", self.0.base)).send().await?;
        let text = answer.error_for_status()?.text().await?;
        let value = text.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
        Ok(value.context("the server does not report its memory usage")?.parse()?)
    }
}

/// At most `most` of the JPEGs in `folder`, sampled evenly.
pub(crate) fn load_photos(folder: &Path, most: usize) -> anyhow::Result<Vec<Bytes>> {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    let paths: Vec<_> = files
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            extension.is_some_and(|e| ["jpg", "jpeg"].contains(&e.to_ascii_lowercase().as_str()))
        })
        .collect();
    anyhow::ensure!(!paths.is_empty(), "no JPEGs found in {}", folder.display());
    let count = paths.len().min(most.max(1));
    let chosen = (0..count).map(|index| &paths[index * paths.len() / count]);
    chosen
        .map(|path| Ok(fs::read(path).with_context(|| path.display().to_string())?.into()))
        .collect()
}
