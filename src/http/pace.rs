//! A least pace of request bodies: a client that hardly sends, or no more, is told so instead of
//! being waited for. Only the time that is spent waiting for it counts.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, HttpBody as _},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, future::BoxFuture};
use tokio::time::{Instant, Sleep, sleep_until};

use super::state::AppState;

/// A client may be silent for so long.
const MAX_SILENCE: Duration = Duration::from_secs(30);
/// Bytes a second that a client sends at least, once it has been waited for longer than
/// [`MAX_SILENCE`] in all.
const MIN_RATE: u64 = 1024;
/// Bodies that are under way when the server begins to shut down are waited for so long.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Holds the body of a request to the least pace.
pub async fn enforce(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let request = request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        let shutdown = state.shutdown.clone();
        let stopping = async move {
            shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        Body::from_stream(MinRateBody::new(body.into_data_stream(), Box::pin(stopping)))
    });
    next.run(request).await
}

/// Why a body is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyTimeout {
    /// It comes too slowly.
    TooSlow,
    /// The server shuts down.
    ShuttingDown,
}

impl BodyTimeout {
    /// The one that is the cause of `error`, if any is.
    #[must_use]
    pub fn find_in(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(late) = error.downcast_ref() {
                return Some(*late);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for BodyTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSlow => "the body arrives too slowly",
            Self::ShuttingDown => "the server is shutting down",
        })
    }
}

impl Error for BodyTimeout {}

struct MinRateBody {
    body: BodyDataStream,
    stopping: BoxFuture<'static, ()>,
    received: u64,
    /// How long the client has been waited for before the current wait.
    waited: Duration,
    /// The current wait: since when, and until when at most.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl MinRateBody {
    fn new(body: BodyDataStream, stopping: BoxFuture<'static, ()>) -> Self {
        Self { body, stopping, received: 0, waited: Duration::ZERO, wait: None }
    }

    /// How long the next bytes are waited for: the silence that is allowed, or less where all waits
    /// together are long enough for more bytes than have come.
    fn next_timeout(&self) -> Duration {
        let earned = MAX_SILENCE + Duration::from_secs(self.received / MIN_RATE);
        earned.saturating_sub(self.waited).min(MAX_SILENCE)
    }
}

impl Stream for MinRateBody {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll_next_unpin(context);
        if let Poll::Ready(next) = polled {
            if let Some((since, _)) = self.wait.take() {
                self.waited += since.elapsed();
            }
            if let Some(Ok(bytes)) = &next {
                self.received += bytes.len() as u64;
            }
            return Poll::Ready(next);
        }
        if self.stopping.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(BodyTimeout::ShuttingDown))));
        }
        let timeout = self.next_timeout();
        let (_, until) = self.wait.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + timeout)))
        });
        until.as_mut().poll(context).map(|()| Some(Err(axum::Error::new(BodyTimeout::TooSlow))))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// What becomes of a body that comes in so many pieces of so many bytes, one every `pause`.
    async fn sent(pieces: usize, bytes: usize, pause: Duration) -> Result<usize, BodyTimeout> {
        let pieces = stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; bytes]))
        });
        let body = Body::from_stream(Box::pin(pieces)).into_data_stream();
        let mut paced = MinRateBody::new(body, Box::pin(std::future::pending()));
        let mut sum = 0;
        while let Some(next) = paced.next().await {
            sum += next.map_err(|error| BodyTimeout::find_in(&error).unwrap())?.len();
        }
        Ok(sum)
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_slowly_but_steadily_is_waited_for_and_who_drips_is_not() {
        let seconds = Duration::from_secs;
        assert_eq!(sent(100, 30_000, seconds(20)).await, Ok(3_000_000));
        assert_eq!(sent(20, 1, seconds(1)).await, Ok(20));
        assert_eq!(sent(1, 1, seconds(31)).await, Err(BodyTimeout::TooSlow));
        assert_eq!(sent(100, 1, seconds(1)).await, Err(BodyTimeout::TooSlow));
        assert_eq!(sent(100, 500, seconds(1)).await, Err(BodyTimeout::TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_server_shuts_down_nobody_is_waited_for() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut paced = MinRateBody::new(body.into_data_stream(), Box::pin(async {}));
        let error = paced.next().await.unwrap().unwrap_err();
        assert_eq!(BodyTimeout::find_in(&error), Some(BodyTimeout::ShuttingDown));
    }
}
