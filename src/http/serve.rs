//! Connections: accepted up to a limit, each with a bounded time for the head of a request, and
//! closed in an orderly way when the server shuts down.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{Router, serve::Listener as _};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::listener::Listeners;

/// Timeout for the head of a request, and for the start of the next one after a response.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval of HTTP/2 pings.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// The first bytes of an HTTP/2 connection.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// File descriptors reserved for other uses than connections.
const RESERVED_FILES: u64 = 256;
const MAX_CONNECTIONS: u64 = 8192;

/// Serves `router` on `listeners` until `stop` is done and the requests in progress have ended.
pub async fn serve(mut listeners: Listeners, router: Router, stop: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(max_connections()));
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
            (permit, listeners.accept().await.0)
        };
        let (permit, stream) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let (builder, router, watcher) = (builder.clone(), router.clone(), open.watcher());
        let stopping = stopping.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // No timer of a protocol runs until the first bytes show which protocol it is.
            let protocol =
                stopping.run_until_cancelled(timeout(HEADER_TIMEOUT, wait_for_protocol(&stream)));
            if protocol.await != Some(Ok(true)) {
                return;
            }
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(router);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // An error of a connection concerns only its client.
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listeners);
    stopping.cancel();
    open.shutdown().await;
}

/// Waits until a client has sent enough to detect the protocol; `false` if it has left.
async fn wait_for_protocol(stream: &TcpStream) -> bool {
    let mut head = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut head).await {
            Ok(0) | Err(_) => return false,
            Ok(read) if read < PREFACE.len() && PREFACE.starts_with(&head[..read]) => {
                sleep(Duration::from_millis(20)).await;
            }
            Ok(_) => return true,
        }
    }
}

/// Maximum open connections: the system's limit of file descriptors, minus those that are reserved.
fn max_connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(MAX_CONNECTIONS);
    let room =
        files.saturating_sub(RESERVED_FILES).clamp(files / 2, MAX_CONNECTIONS.max(files / 2));
    usize::try_from(room.min(MAX_CONNECTIONS)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_protocol_is_told_by_the_first_bytes_that_are_not_the_others() {
        for first in [&b"G"[..], b"POST", &PREFACE[..]] {
            let (mut client, server) = connected().await;
            client.write_all(first).await.unwrap();
            assert!(wait_for_protocol(&server).await);
        }
        let (client, server) = connected().await;
        drop(client);
        assert!(!wait_for_protocol(&server).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_only_begins_is_not_waited_for() {
        let (mut client, server) = connected().await;
        client.write_all(&PREFACE[..5]).await.unwrap();
        assert!(timeout(HEADER_TIMEOUT, wait_for_protocol(&server)).await.is_err());
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }
}
