//! Where the server listens: a host and a port, which become addresses at the start.

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
};

/// A host (a name or an address) and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    host: String,
    port: u16,
}

/// Why a string is not a valid [`Listen`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListen {
    /// No `:PORT` at the end.
    #[error("the port is missing: use HOST:PORT, such as 127.0.0.1:8080 or localhost:8080")]
    NoPort,
    /// Nothing before the colon.
    #[error(
        "the host is missing: use localhost:{0} for this machine only, or 0.0.0.0:{0} or [::]:{0} for all addresses"
    )]
    NoHost(String),
    /// An IPv6 address that can't be separated from the port.
    #[error("put an IPv6 address in brackets, such as [::1]:8080")]
    NoBrackets,
    /// The port is not one.
    #[error("`{0}` is not a port: use 0 to 65535")]
    Port(String),
    /// The host can't be one.
    #[error("`{0}` is not a valid address or host name")]
    Host(String),
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        let text = text.trim();
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(InvalidListen::NoBrackets);
        }
        let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'))
        else {
            return Err(InvalidListen::NoPort);
        };
        if port.is_empty() {
            return Err(InvalidListen::NoPort);
        }
        let number = port.parse().map_err(|_| InvalidListen::Port(port.to_owned()))?;
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let is_host = match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None if host.is_empty() => return Err(InvalidListen::NoHost(port.to_owned())),
            None if host.starts_with(':') || host.parse::<Ipv6Addr>().is_ok() => {
                return Err(InvalidListen::NoBrackets);
            }
            None => host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')),
        };
        if !is_host {
            return Err(InvalidListen::Host(host.to_owned()));
        }
        Ok(Self { host: bare.unwrap_or(host).to_owned(), port: number })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Listen {
    /// Every address of the host, each once, IPv4 first. Blocks while a name is looked up.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let mut addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has no addresses"));
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_addresses_are_read_and_written() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("localhost:8080", "localhost:8080"),
            ("LOCALHOST:0", "LOCALHOST:0"),
            ("my-host.example.org:80", "my-host.example.org:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::]:65535", "[::]:65535"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        use InvalidListen::{Host, NoBrackets, NoHost, NoPort, Port};
        for (text, error) in [
            ("", NoPort),
            ("8080", NoPort),
            ("localhost", NoPort),
            ("localhost:", NoPort),
            ("[::1]", NoPort),
            (":8080", NoHost("8080".to_owned())),
            ("::1", NoBrackets),
            ("::1:8080", NoBrackets),
            ("localhost:http", Port("http".to_owned())),
            ("localhost:65536", Port("65536".to_owned())),
            ("localhost:-1", Port("-1".to_owned())),
            ("http://localhost:8080", Host("http://localhost".to_owned())),
            ("a b:80", Host("a b".to_owned())),
            ("[cat]:80", Host("[cat]".to_owned())),
        ] {
            assert_eq!(text.parse::<Listen>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_name_becomes_each_of_its_addresses_once() {
        let addresses = "localhost:7".parse::<Listen>().unwrap().addresses().unwrap();
        assert!(!addresses.is_empty());
        let alone: std::collections::HashSet<_> = addresses.iter().collect();
        assert_eq!(alone.len(), addresses.len());
        assert!(addresses.iter().all(|it| it.ip().is_loopback() && it.port() == 7));
        let nowhere = "no-such-host.invalid:7".parse::<Listen>().unwrap();
        assert!(nowhere.addresses().is_err());
    }
}
