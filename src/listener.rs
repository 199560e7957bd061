//! The sockets that the server listens on: one for each address of its host.
//!
//! Opened by `app` at the start, and owned by the HTTP server's task.

use std::{io, net::SocketAddr};

use axum::serve::Listener;
use futures::future::select_all;
use tokio::net::{TcpListener, TcpStream};

/// Attempts to find a port that is free on all addresses.
const ATTEMPTS: usize = 10;

/// Why no address can be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses one.
    #[error("can't listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// None was given.
    #[error("there is no address to listen on")]
    NoAddress,
}

/// Listens on several addresses at once.
#[derive(Debug)]
pub struct Listeners {
    first: TcpListener,
    others: Vec<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(first: TcpListener) -> Self {
        Self { first, others: Vec::new() }
    }
}

impl Listeners {
    /// Listens on every available address. If the port is 0, all get the same free one.
    ///
    /// A host may have addresses of a family that the machine lacks: the others are enough then. A
    /// port that is taken on one of them is an error, as clients would reach two programs.
    ///
    /// # Errors
    /// None is available, or the port is taken.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Self::try_bind(addresses).await {
                // A port that was free on the first address may be taken on the others.
                Err(error) if addresses.iter().all(|it| it.port() == 0) && is_taken(&error) => {
                    last = Some(error);
                }
                other => return other,
            }
        }
        Err(last.unwrap_or(ListenError::NoAddress))
    }

    async fn try_bind(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut opened: Vec<TcpListener> = Vec::new();
        let mut missing = Vec::new();
        for address in addresses {
            let mut address = *address;
            if let (0, Some(first)) = (address.port(), opened.first()) {
                let port = first.local_addr().map(|first| first.port());
                address.set_port(port.map_err(|source| ListenError::Bind { address, source })?);
            }
            match TcpListener::bind(address).await {
                Ok(listener) => opened.push(listener),
                Err(error)
                    if error.kind() == io::ErrorKind::AddrNotAvailable
                        || is_unsupported_family(&error) =>
                {
                    missing.push((address, error));
                }
                Err(source) => return Err(ListenError::Bind { address, source }),
            }
        }
        let mut opened = opened.into_iter();
        let Some(first) = opened.next() else {
            let missing = missing.into_iter().next();
            return Err(missing.map_or(ListenError::NoAddress, |(address, source)| {
                ListenError::Bind { address, source }
            }));
        };
        for (address, error) in missing {
            tracing::info!(%address, %error, "this address is not available; using the others");
        }
        Ok(Self { first, others: opened.collect() })
    }

    /// The addresses that are listened on: at least one.
    ///
    /// # Errors
    /// The system does not tell them.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        std::iter::once(&self.first).chain(&self.others).map(TcpListener::local_addr).collect()
    }
}

fn is_taken(error: &ListenError) -> bool {
    matches!(error, ListenError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

/// Whether the machine has no addresses of that family at all.
fn is_unsupported_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

impl Listener for Listeners {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let Self { first, others } = self;
        // Accepting can be cancelled at any time: a connection that was not accepted stays in its
        // queue.
        let accepts = std::iter::once(first)
            .chain(others)
            .map(|listener| Box::pin(Listener::accept(listener)));
        select_all(accepts).await.0
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn both(port: u16) -> [SocketAddr; 2] {
        [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
    }

    #[tokio::test]
    async fn all_addresses_get_the_same_free_port_and_are_answered() {
        let mut listeners = Listeners::bind(&both(0)).await.unwrap();
        let addresses = listeners.addresses().unwrap();
        assert!(addresses.iter().all(|it| it.port() == addresses[0].port() && it.port() != 0));
        for address in addresses {
            let client = TcpStream::connect(address).await.unwrap();
            let (_, from) = listeners.accept().await;
            assert_eq!(from, client.local_addr().unwrap());
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Listeners::bind(&both(port)).await.unwrap_err();
        assert!(format!("{error:#}").contains(&format!("127.0.0.1:{port}")), "{error:#}");
    }

    #[tokio::test]
    async fn an_address_that_the_machine_has_not_is_passed_over() {
        // Of a block for documentation: no machine has it.
        let nobodys: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let listeners = Listeners::bind(&[both(0)[0], nobodys]).await.unwrap();
        assert_eq!(listeners.addresses().unwrap().len(), 1);
        assert!(Listeners::bind(&[nobodys]).await.is_err());
    }
}
