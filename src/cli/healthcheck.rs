//! `pawprint healthcheck`: checks that the server on this machine is running, or ready.
//!
//! A container's health check runs it every few seconds, so it is a plain socket and one request:
//! no runtime, and TLS only if the server asks for it.

use std::{
    env, fmt,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;

use super::{ExitStatus, output::Output, unverified_tls};
use crate::{config::listen::Listen, data_dir::DataDir};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of a response that are read.
const MAX_RESPONSE: u64 = 16 << 10;

const LISTEN: &str = "PAWPRINT_LISTEN";
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// Options of `pawprint healthcheck`.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// Host and port the server listens on [default: those of the server that uses the data directory;
    /// without one, PAWPRINT_LISTEN or 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<Listen>,

    /// Data directory of the server
    #[arg(long, env = "PAWPRINT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Check that the server is ready: a model is in service and the database is writable
    #[arg(long)]
    ready: bool,
}

impl Healthcheck {
    pub(super) fn run(&self) -> ExitStatus {
        let out = Output::new(false);
        let addresses = match self.addresses() {
            Ok(addresses) => addresses,
            Err(error) => {
                out.error(format_args!("{error:#}"));
                return ExitStatus::Failed;
            }
        };
        let path = if self.ready { "/readyz" } else { "/healthz" };
        // The server may listen on some of a name's addresses only.
        let mut failures = Vec::new();
        for address in addresses.into_iter().map(reachable) {
            failures.push(match get(address, path) {
                Ok(answer) if answer.status() == Some("200") => return ExitStatus::Success,
                Ok(answer) => format!("{path} of the server at {address} returned {answer}"),
                Err(error) if is_timeout(&error) => {
                    format!(
                        "{path} of the server at {address} did not answer within {} s",
                        TIMEOUT.as_secs()
                    )
                }
                Err(error) => {
                    format!("can't connect to a Pawprint server at {address}: {error}")
                }
            });
        }
        failures.iter().for_each(|failure| out.error(failure));
        ExitStatus::Failed
    }

    /// Where the server may be reached: at the address that is given, or else that which the server of
    /// the data directory has left there. It may have been told to listen there in any way.
    fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        if self.listen.is_none()
            && let Some(root) = self.data_dir.as_deref().filter(|root| root.exists())
        {
            let left = DataDir::look(root)?.addresses()?;
            if !left.is_empty() {
                return Ok(left);
            }
        }
        let listen = match &self.listen {
            Some(listen) => listen.clone(),
            None => {
                let set = env::var(LISTEN).unwrap_or_else(|_| DEFAULT_LISTEN.to_owned());
                set.parse().with_context(|| format!("{LISTEN}={set}"))?
            }
        };
        listen.addresses().with_context(|| format!("can't resolve {listen}"))
    }
}

/// A server that listens on every address is checked on the loopback one.
const fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Whether the server accepted the connection, or its machine exists, but nothing came back in time.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The answer to `GET path`.
fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let answer = ask(connect(address)?, address, path)?;
    // How a server that has a certificate answers a request without TLS.
    if answer.status() == Some("400") {
        return ask(unverified_tls::wrap(connect(address)?)?, address, path);
    }
    Ok(answer)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn ask(
    mut stream: impl io::Read + io::Write,
    address: SocketAddr,
    path: &str,
) -> io::Result<Answer> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut answer)?;
    Ok(Answer(String::from_utf8_lossy(&answer).into_owned()))
}

/// A response of HTTP, as it was sent.
struct Answer(String);

impl Answer {
    fn status(&self) -> Option<&str> {
        self.0.lines().next()?.split(' ').nth(1)
    }

    /// The reason that the body gives.
    fn detail(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }

        let (_, body) = self.0.split_once("\r\n\r\n")?;
        Some(serde_json::from_str::<Problem>(body).ok()?.detail)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.lines().next().unwrap_or_default())?;
        self.detail().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(asked("[::]:80"), "[::1]:80");
        assert_eq!(asked("10.0.0.7:80"), "10.0.0.7:80");
    }
}
