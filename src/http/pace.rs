//! Minimum rate of request bodies: a client that sends too slowly gets an error instead of being
//! waited for. Only the time spent waiting for it counts.

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

/// The longest a client may be silent.
const MAX_SILENCE: Duration = Duration::from_secs(30);
/// Minimum bytes per second of a client, once the waits for it exceed [`MAX_SILENCE`] in total.
const MIN_RATE: u64 = 1024;
/// How long bodies in progress are waited for when the server begins to shut down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Enforces the minimum rate on the body of a request.
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

/// Why a body is no longer waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyTimeout {
    /// It arrives too slowly.
    TooSlow,
    /// The server is shutting down.
    ShuttingDown,
}

impl BodyTimeout {
    /// The one among the causes of `error`, if any.
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
    /// Total time of the waits before the current one.
    waited: Duration,
    /// The current wait: its start, and its latest end.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl MinRateBody {
    fn new(body: BodyDataStream, stopping: BoxFuture<'static, ()>) -> Self {
        Self { body, stopping, received: 0, waited: Duration::ZERO, wait: None }
    }

    /// How long the next bytes are waited for: the allowed silence, or less if the total wait is
    /// long enough for more bytes than have arrived.
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

    /// The result of a body that arrives in `pieces` of equal size, one every `pause`.
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
