//! `pawprint healthcheck`: asks the server on this machine whether it lives.
//!
//! A container's health check runs it every few seconds, so it is a plain socket and one request:
//! no runtime, no TLS.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use clap::Args;

use super::{Ending, output::Output};

const PATIENCE: Duration = Duration::from_secs(3);

/// Options of `pawprint healthcheck`.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// Address the server was told to listen on
    #[arg(long, env = "PAWPRINT_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: SocketAddr,
}

impl Healthcheck {
    pub(super) fn run(&self) -> Ending {
        let address = reachable(self.listen);
        match status_line(address) {
            Ok(line) if line.split(' ').nth(1) == Some("200") => return Ending::Success,
            Ok(line) => {
                Output::new(false).error(format_args!("http://{address}/healthz answers {line:?}"));
            }
            Err(error) => {
                Output::new(false)
                    .error(format_args!("no Pawprint server answers at http://{address}: {error}"));
            }
        }
        Ending::Failed
    }
}

/// A server that listens on every address is asked on the loopback one.
const fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The first line of the answer to `GET /healthz`.
fn status_line(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
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
