//! Responses that are sent before their request has ended.
//!
//! An error (no token, unknown dataset, too many bytes) needs no body. But most clients send all of
//! theirs before they read the response, and if the connection is closed meanwhile they see a
//! broken pipe instead of the reason. So the rest of a body is read and discarded, for a while.

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

/// The connection of a client that still sends after this time is closed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the rest of a body that the handler has dropped.
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
    /// The unread rest; `None` once the body has ended.
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
        // While the runtime shuts down, nothing is read any more.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(DRAIN_TIMEOUT, async move {
                while let Some(Ok(_)) = rest.next().await {}
            }));
        }
    }
}
