//! HTTP client of a Pawprint server: its address, its token, and its problems as errors.
//!
//! Redirects are not followed: they would lose a body or carry the token elsewhere.

use std::{error::Error as _, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER},
    redirect,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{args::ClientArgs, responses::Page};
use crate::{config::token_file, error_chain::root_cause};

/// Timeout of a request that the server answers without long work.
const TIMEOUT: Duration = Duration::from_mins(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The server's upper bound for `?limit=`.
const PAGE: usize = 500;

/// A server that requests are sent to.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// An unsuccessful response: an RFC 9457 problem.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) detail: String,
    /// The whole object, as received.
    pub(super) body: Value,
    /// When to retry, if the server says so.
    pub(super) retry_after: Option<Duration>,
}

/// Why a request has no useful response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nothing listens at that address.
    #[error(
        "can't connect to a Pawprint server at {url}: {reason} (start one with `pawprint serve`)"
    )]
    NoServer { url: String, reason: String },
    /// It is not trusted.
    #[error("the TLS certificate of {url} is not trusted: {reason} ({hint})")]
    Certificate { url: String, reason: String, hint: &'static str },
    /// The server returned a problem.
    #[error("{}{}", .0.detail, hint(.0))]
    Problem(Box<Problem>),
    /// The response did not come from Pawprint.
    #[error("{url} returned {status}, not a Pawprint response{redirect}")]
    NotPawprint { url: String, status: StatusCode, redirect: String },
    /// The connection broke, or the response took too long.
    #[error("incomplete response from {url}: {reason}")]
    Transport { url: String, reason: String },
    /// This version does not understand the response.
    #[error("can't parse the response from {url}")]
    Unreadable {
        url: String,
        #[source]
        source: serde_json::Error,
    },
}

/// What to do about an error, where the server's detail can't know it.
fn hint(problem: &Problem) -> &'static str {
    match problem.status {
        StatusCode::UNAUTHORIZED => " (set PAWPRINT_API_TOKEN or --api-token)",
        _ => "",
    }
}

impl Error {
    /// Stable error code.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::NoServer { .. } => "no_server",
            Self::Certificate { .. } => "certificate",
            Self::Problem(problem) => &problem.code,
            Self::NotPawprint { .. } => "not_pawprint",
            Self::Transport { .. } => "connection_lost",
            Self::Unreadable { .. } => "unreadable_answer",
        }
    }

    /// Whether the server replied that something does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == StatusCode::NOT_FOUND)
    }

    fn transport(url: &Url, error: &reqwest::Error) -> Self {
        let url = shown(url);
        if let Some(error) = certificate_error(error) {
            return Self::Certificate {
                url,
                reason: error.to_string(),
                hint: certificate_hint(error),
            };
        }
        if error.is_connect() {
            return Self::NoServer { url, reason: root_cause(error) };
        }
        let reason = if error.is_timeout() { "timed out".to_owned() } else { root_cause(error) };
        Self::Transport { url, reason }
    }
}

impl Client {
    pub(super) fn new(args: &ClientArgs) -> anyhow::Result<Self> {
        // An error only means that a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("pawprint/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(Duration::from_secs(30))
            // A server that rejects an upload half-way closes the connection just after its
            // response: the next request must not be sent on it.
            .pool_max_idle_per_host(0)
            .redirect(redirect::Policy::none())
            .default_headers(headers(args)?);
        if args.server.scheme() == "http" {
            // The machine may have no certificates, and none is needed.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&args.server) {
            builder = builder.no_proxy();
        }
        let http = builder.build().context("can't create an HTTP client")?;
        Ok(Self { http, base: args.server.clone() })
    }

    /// A request for the path of these segments, with the usual timeout.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_without_timeout(method, path).timeout(TIMEOUT)
    }

    /// A request without a timeout.
    pub(super) fn request_without_timeout(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url)
    }

    /// Sends a request; an unsuccessful response is an error.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response =
            request.send().await.map_err(|error| Error::transport(&self.base, &error))?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    /// Sends a request and reads a JSON response.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, Error> {
        self.parse(self.send(request).await?).await
    }

    /// Reads a JSON response.
    pub(super) async fn parse<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        let url = shown(response.url());
        let body = response.bytes().await.map_err(|error| Error::transport(&self.base, &error))?;
        serde_json::from_slice(&body).map_err(|source| Error::Unreadable { url, source })
    }

    /// Sends a request and reads the response body as it is.
    pub(super) async fn bytes(&self, request: RequestBuilder) -> Result<Bytes, Error> {
        let response = self.send(request).await?;
        response.bytes().await.map_err(|error| Error::transport(&self.base, &error))
    }

    /// The first `limit` items of a list, over as many pages as needed.
    pub(super) async fn list(
        &self,
        path: &[&str],
        filters: &[(&str, &str)],
        limit: usize,
    ) -> Result<Vec<Value>, Error> {
        let mut items = Vec::new();
        let mut cursor = None;
        while items.len() < limit {
            let page = (limit - items.len()).min(PAGE).to_string();
            let request = self
                .request(Method::GET, path)
                .query(filters)
                .query(&[("limit", &page)])
                .query(&cursor.map(|cursor: String| [("cursor", cursor)]));
            let page: Page = self.json(request).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        items.truncate(limit);
        Ok(items)
    }
}

/// Reads a typed response out of JSON that may also be printed as received.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> anyhow::Result<T> {
    T::deserialize(value).context("can't parse the server's response")
}

fn headers(args: &ClientArgs) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let given = args.api_token.clone().filter(|token| !token.is_empty());
    let token = match (given, &args.api_token_file) {
        (None, Some(file)) => token_file::read(file)?.into_iter().next(),
        (given, _) => given,
    };
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .context("PAWPRINT_API_TOKEN contains an invalid character")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']);
        host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

async fn refusal(response: Response) -> Error {
    let status = response.status();
    let url = shown(response.url());
    let retry_after = header(&response, &RETRY_AFTER)
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    let redirect = header(&response, &LOCATION)
        .filter(|_| status.is_redirection())
        .map(|to| format!(" (redirects to {to})"))
        .unwrap_or_default();
    let body = response.bytes().await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let member = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    match (member("code"), member("detail")) {
        (Some(code), Some(detail)) => {
            Error::Problem(Box::new(Problem { status, code, detail, body, retry_after }))
        }
        _ => Error::NotPawprint { url, status, redirect },
    }
}

fn header<'a>(response: &'a Response, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// A URL without its trailing slash.
fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// What to do about a certificate that is not trusted.
fn certificate_hint(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Reason;
    match error {
        rustls::Error::InvalidCertificate(
            Reason::NotValidForName | Reason::NotValidForNameContext { .. },
        ) => "use a name that the certificate has",
        rustls::Error::InvalidCertificate(Reason::Expired | Reason::ExpiredContext { .. }) => {
            "renew it"
        }
        rustls::Error::InvalidCertificate(Reason::Other(_))
            if error.to_string().contains("CaUsedAsEndEntity") =>
        {
            "it is marked as that of an authority; make one with `-addext basicConstraints=critical,CA:FALSE`"
        }
        _ => "for your own certificate authority, set SSL_CERT_FILE to its certificate",
    }
}

/// What is wrong with the server's certificate, if that is why there is no connection.
fn certificate_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = cause {
        // An I/O error's source is below what it wraps.
        let inner = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        let found = inner.map_or_else(
            || error.downcast_ref::<rustls::Error>(),
            |inner| inner.downcast_ref::<rustls::Error>(),
        );
        if let Some(found @ rustls::Error::InvalidCertificate(_)) = found {
            return Some(found);
        }
        cause = inner.map_or_else(|| error.source(), |inner| Some(inner));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_known_in_every_form() {
        let loopback = |url: &str| is_loopback(&url.parse().unwrap());
        for url in ["http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:80", "http://localhost"]
        {
            assert!(loopback(url), "{url}");
        }
        for url in ["http://10.0.0.1", "http://localhost.example.org", "https://example.org"] {
            assert!(!loopback(url), "{url}");
        }
    }
}
