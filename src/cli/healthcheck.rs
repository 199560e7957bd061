//! `pawprint healthcheck`: checks that the server on this machine is running.
//!
//! A container's health check runs it every few seconds, so it is a plain socket and one request:
//! no runtime, and TLS only if the server asks for it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use clap::Args;

use super::{ExitStatus, output::Output, unverified_tls};
use crate::config::listen::Listen;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Options of `pawprint healthcheck`.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// Host and port the server listens on
    #[arg(
        long,
        env = "PAWPRINT_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "HOST:PORT"
    )]
    listen: Listen,
}

impl Healthcheck {
    pub(super) fn run(&self) -> ExitStatus {
        let out = Output::new(false);
        let listen = &self.listen;
        let addresses = match listen.addresses() {
            Ok(addresses) => addresses,
            Err(error) => {
                out.error(format_args!("can't resolve {listen}: {error}"));
                return ExitStatus::Failed;
            }
        };
        // The server may listen on some of a name's addresses only.
        let mut failures = Vec::new();
        for address in addresses.into_iter().map(reachable) {
            failures.push(match status_line(address) {
                Ok(line) if line.split(' ').nth(1) == Some("200") => return ExitStatus::Success,
                Ok(line) => format!("http://{address}/healthz returned {line:?}"),
                Err(error) => {
                    format!("can't connect to a Pawprint server at http://{address}: {error}")
                }
            });
        }
        failures.iter().for_each(|failure| out.error(failure));
        ExitStatus::Failed
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

/// The first line of the response to `GET /healthz`.
fn status_line(address: SocketAddr) -> io::Result<String> {
    let line = first_line(connect(address)?, address)?;
    // How a server that has a certificate answers a request without TLS.
    if line.split(' ').nth(1) == Some("400") {
        return first_line(unverified_tls::wrap(connect(address)?)?, address);
    }
    Ok(line)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn first_line(mut stream: impl io::Read + io::Write, address: SocketAddr) -> io::Result<String> {
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    let mut buffer = [0; 256];
    while !head.contains(&b'\n') && head.len() < 1_024 {
        match stream.read(&mut buffer)? {
            0 => break,
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).trim_end().to_owned())
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
