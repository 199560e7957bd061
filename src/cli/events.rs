//! The events of a job, over as many connections as needed.
//!
//! When the connection drops, the stream resumes after the last event received (`Last-Event-ID`),
//! with a longer wait from one attempt to the next.

use std::{io, pin::Pin, time::Duration};

use eventsource_stream::{Event, Eventsource as _};
use futures::{Stream, StreamExt as _, stream};
use reqwest::{Method, Response, StatusCode, header::ACCEPT};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{
    client::{self, Client, Error},
    responses::Job,
};
use crate::error_chain::root_cause;

const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(15);
/// A server that can't be reached for this long is given up.
const RECONNECT_TIMEOUT: Duration = Duration::from_mins(5);
/// The server sends something at least every fifteen seconds; a silent connection is dead.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

type Connection = Pin<Box<dyn Stream<Item = Result<Event, String>>>>;

/// What comes next.
pub(super) enum Next {
    /// An event.
    Event(Event),
    /// The connection was lost, for this reason; another is opened.
    Disconnected(String),
}

/// The events of one job.
pub(super) struct Events<'a> {
    client: &'a Client,
    job: &'a str,
    last_id: String,
    connection: Option<Connection>,
    /// Since when an earlier connection is lost.
    disconnected_since: Option<Instant>,
    backoff: Duration,
}

impl<'a> Events<'a> {
    pub(super) fn new(client: &'a Client, job: &'a str) -> Self {
        let last_id = String::new();
        Self {
            client,
            job,
            last_id,
            connection: None,
            disconnected_since: None,
            backoff: MIN_BACKOFF,
        }
    }

    /// The next event, or a notice that the connection was lost.
    ///
    /// # Errors
    /// The server rejects the request, or can't be reached: at once the first time, after a while
    /// later.
    pub(super) async fn next(&mut self) -> anyhow::Result<Next> {
        let Some(connection) = &mut self.connection else {
            return self.connect().await;
        };
        let reason = match connection.next().await {
            Some(Ok(event)) => {
                self.disconnected_since = None;
                self.backoff = event.retry.map_or(MIN_BACKOFF, |retry| retry.min(MAX_BACKOFF));
                self.last_id.clone_from(&event.id);
                return Ok(Next::Event(event));
            }
            Some(Err(reason)) => reason,
            None => "closed by the server".to_owned(),
        };
        self.connection = None;
        self.disconnected_since = self.disconnected_since.or_else(|| Some(Instant::now()));
        // The job may have finished without an event of it having arrived.
        match self.ended().await {
            Some(event) => Ok(Next::Event(event)),
            None => Ok(Next::Disconnected(reason)),
        }
    }

    async fn connect(&mut self) -> anyhow::Result<Next> {
        loop {
            if self.disconnected_since.is_some() {
                sleep(self.backoff).await;
                self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
            }
            let error = match self.open().await {
                Ok(response) if response.status() == StatusCode::NO_CONTENT => {
                    self.disconnected_since =
                        self.disconnected_since.or_else(|| Some(Instant::now()));
                    match self.ended().await {
                        Some(event) => return Ok(Next::Event(event)),
                        None => continue,
                    }
                }
                Ok(response) => {
                    self.connection = Some(events(response));
                    return Box::pin(self.next()).await;
                }
                Err(error) => error,
            };
            match self.disconnected_since {
                Some(since) if is_transient(&error) && since.elapsed() < RECONNECT_TIMEOUT => {}
                _ => return Err(error.into()),
            }
        }
    }

    async fn open(&self) -> Result<Response, Error> {
        let path = ["jobs", self.job, "events"];
        let mut request = self
            .client
            .request_without_timeout(Method::GET, &path)
            .header(ACCEPT, "text/event-stream");
        if !self.last_id.is_empty() {
            request = request.header("Last-Event-ID", &self.last_id);
        }
        self.client.send(request).await
    }

    /// The final status of the job as an event, if it has finished.
    async fn ended(&self) -> Option<Event> {
        let request = self.client.request(Method::GET, &["jobs", self.job]);
        let response: Value = self.client.json(request).await.ok()?;
        let job: Job = client::read(&response).ok()?;
        job.status.is_final().then(|| Event {
            event: "status".to_owned(),
            data: response.to_string(),
            ..Event::default()
        })
    }
}

/// Whether a failure may be temporary: a server that restarts, a proxy without a server.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::NoServer { .. } | Error::Transport { .. } => true,
        Error::Problem(problem) => {
            problem.status.is_server_error() || problem.status == StatusCode::TOO_MANY_REQUESTS
        }
        Error::NotPawprint { status, .. } => status.is_server_error(),
        Error::Certificate { .. } | Error::Unreadable { .. } => false,
    }
}

fn events(response: Response) -> Connection {
    let bytes = stream::try_unfold(response, async |mut response| {
        match timeout(IDLE_TIMEOUT, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk.map(|chunk| (chunk, response))),
            Ok(Err(error)) => Err(io::Error::other(root_cause(&error))),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no data for {} s", IDLE_TIMEOUT.as_secs()),
            )),
        }
    });
    Box::pin(bytes.eventsource().map(|event| event.map_err(|error| error.to_string())))
}
