//! Connections: accepted up to a limit, each with a bounded time for TLS and for the head of a
//! request, and closed in an orderly way when the server shuts down.

use std::{future::Future, io, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, http::Request, serve::Listener as _};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};
use tower::ServiceExt as _;

use crate::listener::Listeners;

/// Timeout for the head of a request, and for the start of the next one after a response.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval of HTTP/2 pings.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// File descriptors reserved for other uses than connections.
const RESERVED_FILES: u64 = 256;
const DEFAULT_MAX_CONNECTIONS: usize = 8192;
/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;
/// For a client that does not speak TLS: it can read no other answer.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n\
    connection: close\r\ncontent-length: 129\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"code\":\"https_required\",\
    \"detail\":\"this server uses HTTPS; use https://\"}";

/// How connections are accepted.
#[derive(Clone)]
pub struct ConnectionConfig {
    /// For HTTPS.
    pub tls: Option<TlsAcceptor>,
    /// Maximum open connections; by default, and at most, what the limit of open files allows.
    pub max_connections: Option<NonZeroUsize>,
}

/// Serves `router` on `listeners` until `stop` is done and the requests in progress have ended.
pub async fn serve(
    mut listeners: Listeners,
    router: Router,
    connections: ConnectionConfig,
    stop: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(connections.max_open()));
    let open = GracefulShutdown::new();
    let stopping = CancellationToken::new();
    let mut stop = std::pin::pin!(stop);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(HEADER_TIMEOUT);
    loop {
        // Further clients wait in the system's queue.
        let accept = async {
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (permit, listeners.accept().await)
        };
        let (permit, (stream, peer)) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let (builder, router, watcher) = (builder.clone(), router.clone(), open.watcher());
        let (stopping, tls) = (stopping.clone(), connections.tls.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            let Some(opened) = stopping.run_until_cancelled(opened(stream, tls)).await else {
                return;
            };
            let stream = match opened {
                Ok(stream) => TokioIo::new(stream),
                // An error of a connection concerns only its client.
                Err(error) => return tracing::debug!(%error, %peer, "a connection was not opened"),
            };
            let begun = CancellationToken::new();
            let router = router.map_request(announce(peer, begun.clone()));
            let connection = builder.serve_connection(stream, TowerToHyperService::new(router));
            let connection = watcher.watch(connection.into_owned());
            // No timer of a protocol runs until the first bytes show which protocol it is.
            let never_begins = async {
                if timeout(HEADER_TIMEOUT, begun.cancelled()).await.is_ok() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                },
                () = never_begins => {}
            }
        });
    }
    drop(listeners);
    stopping.cancel();
    open.shutdown().await;
}

/// Tells handlers who sends a request, and `begun` that there is one.
fn announce<B>(
    peer: SocketAddr,
    begun: CancellationToken,
) -> impl FnMut(Request<B>) -> Request<B> + Clone {
    move |mut request: Request<B>| {
        begun.cancel();
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    }
}

/// A connection over which HTTP can be spoken.
async fn opened(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
) -> io::Result<Either<TcpStream, TlsStream<TcpStream>>> {
    let Some(tls) = tls else { return Ok(Either::Left(stream)) };
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first != [TLS_HANDSHAKE] {
            return refuse_plain_http(stream).await;
        }
        tls.accept(stream).await
    };
    timeout(HANDSHAKE_TIMEOUT, handshake).await?.map(Either::Right)
}

/// Tells a client that began without TLS what is expected.
async fn refuse_plain_http<T>(mut stream: TcpStream) -> io::Result<T> {
    stream.write_all(NOT_TLS).await?;
    stream.shutdown().await?;
    // What is sent and not read would make the system drop the answer.
    let mut rest = vec![0; 16 << 10];
    while stream.read(&mut rest).await? > 0 {}
    Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin with a TLS handshake"))
}

impl ConnectionConfig {
    /// Maximum open connections.
    fn max_open(&self) -> usize {
        let possible = possible_connections();
        let Some(wanted) = self.max_connections.map(NonZeroUsize::get) else {
            return possible.min(DEFAULT_MAX_CONNECTIONS);
        };
        if wanted > possible {
            tracing::warn!(wanted, possible, "the limit of open files allows fewer connections");
        }
        wanted.min(possible)
    }
}

/// The system's limit of file descriptors, minus those that are reserved; at least half of it.
fn possible_connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = files.saturating_sub(RESERVED_FILES).max(files / 2);
    usize::try_from(possible).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server, and a connection to it.
    async fn connected(tls: Option<TlsAcceptor>) -> (TcpStream, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", axum::routing::get(async || "hello"));
        let connections = ConnectionConfig { tls, max_connections: None };
        tokio::spawn(serve(listener.into(), router, connections, stop.clone().cancelled_owned()));
        (client, stop)
    }

    async fn rest(mut client: TcpStream) -> String {
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn who_only_begins_is_not_waited_for() {
        for beginning in [&b""[..], b"GET", b"PRI * HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        {
            let (mut client, _stop) = connected(None).await;
            client.write_all(beginning).await.unwrap();
            let waited = tokio::time::Instant::now();
            rest(client).await;
            assert!(waited.elapsed() <= HEADER_TIMEOUT + PING_INTERVAL, "{beginning:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_request_does_not_keep_the_server() {
        for beginning in [&b""[..], b"PRI * HTTP/2.0"] {
            let (mut client, stop) = connected(None).await;
            client.write_all(beginning).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            stop.cancel();
            timeout(Duration::from_secs(5), rest(client)).await.unwrap();
        }
    }

    #[test]
    fn the_limit_of_connections_is_what_the_system_allows_at_most() {
        let max_open = |max| {
            ConnectionConfig { tls: None, max_connections: NonZeroUsize::new(max) }.max_open()
        };
        assert_eq!(max_open(3), 3);
        assert_eq!(max_open(usize::MAX), possible_connections());
        assert_eq!(max_open(0), possible_connections().min(DEFAULT_MAX_CONNECTIONS));
    }

    #[test]
    fn the_answer_without_tls_is_whole() {
        let text = str::from_utf8(NOT_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["code"], "https_required");
    }
}
