//! One attempt at a delivery: a signed POST to a public address, with little patience and no trust.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{
    Response, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::CONTENT_TYPE,
    redirect,
};

use super::signature;
use crate::{
    domain::{
        DeliveryId, Timestamp,
        webhook::{Attempt, is_public},
    },
    error_chain::root_cause,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the connection to the response's head; and for its body, if that may say what is wrong.
const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of a response that are read, and characters of it that are kept.
const MAX_BODY: usize = 4 << 10;
const MAX_EXCERPT: usize = 200;

/// What a message consists of.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) id: DeliveryId,
    pub(super) url: &'a str,
    pub(super) secret: &'a str,
    pub(super) body: &'a str,
}

/// Sends deliveries.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    allow_private: bool,
}

impl Client {
    pub(super) fn new(allow_private: bool) -> Result<Self, reqwest::Error> {
        // An error only means that a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("pawprint/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(0)
            // A proxy would connect to addresses that were not checked.
            .no_proxy()
            .dns_resolver(Arc::new(Resolver { allow_private }))
            .build()?;
        Ok(Self { http, allow_private })
    }

    /// Whether an address may be connected to.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        self.allow_private || is_public(address)
    }

    /// Sends a message. The body of a response that accepts it is not read.
    pub(super) async fn send(&self, message: &Message<'_>) -> Attempt {
        let (at, started) = (Timestamp::now(), Instant::now());
        let sent = tokio::time::timeout(TIMEOUT, self.post(message)).await;
        let (response_status, error) = match sent {
            Ok(Ok(response)) => {
                let status = response.status();
                (Some(status.as_u16()), refusal(response, status).await)
            }
            Ok(Err(error)) => (None, Some(error)),
            Err(_) => (None, Some(format!("no response within {} s", TIMEOUT.as_secs()))),
        };
        Attempt { at, response_status, seconds: started.elapsed().as_secs_f64(), error }
    }

    async fn post(&self, message: &Message<'_>) -> Result<Response, String> {
        let url = Url::parse(message.url).map_err(|error| error.to_string())?;
        // A name is resolved, and its addresses are checked, when it is connected to.
        if let Some(address) = literal(&url)
            && !self.allows(address)
        {
            return Err(not_public(&address.to_string()));
        }
        let id = message.id.to_string();
        let seconds = Timestamp::now().as_second();
        let signature = signature::key(message.secret)
            .and_then(|key| signature::sign(&key, &id, seconds, message.body))
            .ok_or("its secret can't be read")?;
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature)
            .body(message.body.to_owned());
        request.send().await.map_err(|error| {
            if error.is_timeout() {
                format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())
            } else {
                root_cause(&error)
            }
        })
    }
}

/// Why the receiver did not accept a message: `None` if it did.
async fn refusal(mut response: Response, status: StatusCode) -> Option<String> {
    if status.is_success() {
        return None;
    }
    if status.is_redirection() {
        return Some(format!("it responded {status}; redirects are not followed"));
    }
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY - body.len())]);
            if body.len() >= MAX_BODY {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(BODY_TIMEOUT, read).await;
    let text = String::from_utf8_lossy(&body);
    let excerpt: String =
        text.trim().chars().filter(|c| !c.is_control()).take(MAX_EXCERPT).collect();
    let colon = if excerpt.is_empty() { "" } else { ": " };
    Some(format!("it responded {status}{colon}{excerpt}"))
}

/// The address in a URL that names no host; however it is written: `http://2130706433/` is 127.0.0.1.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

pub(super) fn not_public(host: &str) -> String {
    format!(
        "{host} is not a public address; --webhook-allow-private (PAWPRINT_WEBHOOK_ALLOW_PRIVATE) of the server allows it"
    )
}

/// Resolves names to addresses that may be connected to: those that are returned are the ones that the client
/// connects to, so a name that changes its mind gains nothing.
#[derive(Debug)]
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| allow_private || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err(io::Error::other(not_public(name.as_str())).into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_recognised_however_they_are_written() {
        let of =
            |text: &str| literal(&Url::parse(text).unwrap()).map(|address| address.to_string());
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
        ] {
            assert_eq!(of(url).as_deref(), Some("127.0.0.1"), "{url}");
        }
        assert_eq!(of("http://[::ffff:7f00:1]:80/").as_deref(), Some("::ffff:127.0.0.1"));
        assert_eq!(of("https://example.org/"), None);
    }

    #[tokio::test]
    async fn names_of_this_machine_are_refused() {
        let resolve =
            |allow_private| Resolver { allow_private }.resolve("localhost".parse().unwrap());
        let refused = resolve(false).await.err().unwrap().to_string();
        assert!(refused.contains("localhost is not a public address"), "{refused}");
        assert!(resolve(true).await.is_ok());
    }
}
