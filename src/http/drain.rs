//! Answers that come before their request has ended.
//!
//! A refusal (no token, no such dataset, too many bytes) needs no body. But most clients send all
//! of theirs before they look at the answer, and where the connection is closed under them they
//! see a broken pipe instead of the reason. So what a handler leaves of a body is read and thrown
//! away, for a while.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, HttpBody as _},
    extract::Request,
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::time::timeout;

/// A client that still sends after so long finds its connection closed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads on to the end of a body that the handler has dropped.
pub async fn drain(request: Request, next: Next) -> Response {
    let request = request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::from_stream(DrainOnDrop { rest: Some(body.into_data_stream()) })
    });
    next.run(request).await
}

/// A body on its way to a handler.
struct DrainOnDrop {
    /// What has not been read; nothing once the body has ended.
    rest: Option<BodyDataStream>,
}

impl Stream for DrainOnDrop {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let polled = rest.poll_next_unpin(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.rest = None;
        }
        polled
    }
}

impl Drop for DrainOnDrop {
    fn drop(&mut self) {
        let Some(mut rest) = self.rest.take() else { return };
        // While the runtime ends there is nobody to read on.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(DRAIN_TIMEOUT, async move {
                while let Some(Ok(_)) = rest.next().await {}
            }));
        }
    }
}
