//! One attempt to get the rest of a file.

use std::{fs::File, io::Write as _};

use reqwest::{
    Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, RANGE},
};
use tokio::{task::block_in_place, time};

use super::{
    DownloadError, RetryPolicy, Source,
    partial::{Partial, ResumePoint},
};

/// What every attempt needs.
pub(super) struct Transfer<'a> {
    pub(super) client: &'a reqwest::Client,
    pub(super) source: &'a Source,
    pub(super) partial: &'a Partial,
    pub(super) policy: RetryPolicy,
}

/// A body to be written to the end of a file.
struct Body {
    response: Response,
    file: File,
    /// Bytes that are in the file.
    length: u64,
    /// Total bytes of the file, if the server reports it.
    total: Option<u64>,
}

impl Transfer<'_> {
    /// Downloads the rest of the file.
    pub(super) async fn attempt(
        &self,
        progress: &mut impl FnMut(u64, Option<u64>),
    ) -> Result<(), DownloadError> {
        let resume_point = self.partial.resume_point(&self.source.url);
        let response = self.request(resume_point.as_ref()).await?;
        match self.body(response, resume_point)? {
            Some(body) => self.receive(body, progress).await,
            None => Ok(()),
        }
    }

    /// Requests the file, or the rest after `position` if it still has that version.
    async fn request(&self, resume_point: Option<&ResumePoint>) -> Result<Response, DownloadError> {
        // Compressed, the bytes would not match the checksum.
        let mut request =
            self.client.get(self.source.url.as_ref()).header(ACCEPT_ENCODING, "identity");
        if let Some(ResumePoint { length, version }) = resume_point {
            request = request.header(RANGE, format!("bytes={length}-")).header(IF_RANGE, version);
        }
        self.with_timeout(request.send()).await
    }

    /// The body to write and its position; `None` if the file is complete.
    fn body(
        &self,
        response: Response,
        resume_point: Option<ResumePoint>,
    ) -> Result<Option<Body>, DownloadError> {
        let length = resume_point.map_or(0, |resume_point| resume_point.length);
        let status = response.status();
        let (length, file) = match status {
            // The whole file: no range was requested, or it changed, or ranges are not supported.
            StatusCode::OK => {
                let version = header(&response, &ETAG).filter(|tag| !tag.starts_with("W/"));
                (0, self.partial.begin(&self.source.url, version))
            }
            StatusCode::PARTIAL_CONTENT if length > 0 && range_start(&response) == Some(length) => {
                (length, self.partial.resume())
            }
            StatusCode::RANGE_NOT_SATISFIABLE if length > 0 && total(&response) == Some(length) => {
                return Ok(None);
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                // The next attempt requests all of it.
                self.partial.discard();
                return Err(self.interrupted("the server returned the wrong byte range"));
            }
            _ => return Err(DownloadError::Status { url: self.url(), status }),
        };
        let total = response.content_length().map(|rest| length.saturating_add(rest));
        if total.is_some_and(|total| total > self.policy.max_bytes) {
            return Err(self.too_large());
        }
        Ok(Some(Body { response, file: file.map_err(self.partial.io())?, length, total }))
    }

    async fn receive(
        &self,
        mut body: Body,
        progress: &mut impl FnMut(u64, Option<u64>),
    ) -> Result<(), DownloadError> {
        let total = body.total.or(self.source.bytes);
        progress(body.length, total);
        while let Some(chunk) = self.with_timeout(body.response.chunk()).await? {
            body.length += chunk.len() as u64;
            if body.length > self.policy.max_bytes {
                return Err(self.too_large());
            }
            // Not in a task of its own: that would continue to write after this future was dropped,
            // while the next call already reads the file's length.
            block_in_place(|| body.file.write_all(&chunk)).map_err(self.partial.io())?;
            progress(body.length, total);
        }
        match body.total {
            Some(total) if body.length < total => {
                Err(self.interrupted("the response is incomplete"))
            }
            _ => Ok(()),
        }
    }

    /// Waits for the network, with a timeout.
    async fn with_timeout<T>(
        &self,
        waiting: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, DownloadError> {
        let timeout = self.policy.timeout;
        match time::timeout(timeout, waiting).await {
            Ok(Ok(came)) => Ok(came),
            Ok(Err(error)) => Err(DownloadError::transport(&self.source.url, &error)),
            Err(_) => Err(DownloadError::Stalled { url: self.url(), timeout }),
        }
    }

    fn url(&self) -> String {
        self.source.url.to_string()
    }

    fn interrupted(&self, reason: &str) -> DownloadError {
        DownloadError::Interrupted { url: self.url(), reason: reason.to_owned() }
    }

    fn too_large(&self) -> DownloadError {
        self.partial.discard();
        DownloadError::TooLarge { url: self.url(), max_bytes: self.policy.max_bytes }
    }
}

fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The first byte of `Content-Range: bytes 5-9/10`.
fn range_start(response: &Response) -> Option<u64> {
    let (start, _) = header(response, &CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('-')?;
    start.parse().ok()
}

/// The size of the whole in `Content-Range: bytes */10`.
fn total(response: &Response) -> Option<u64> {
    header(response, &CONTENT_RANGE)?.strip_prefix("bytes */")?.parse().ok()
}
