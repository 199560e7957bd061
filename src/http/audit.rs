//! The audit log: one line of JSON for each request that changes something.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use axum::{
    extract::{ConnectInfo, Request},
    http::{StatusCode, header},
    response::Response,
};
use serde::Serialize;
use tower_http::request_id::RequestId;

use super::state::AppState;
use crate::{access::Caller, domain::Timestamp};

/// The status of requests whose client left before the response, as in `GET /metrics`.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A line of the log.
#[derive(Debug, Clone, Serialize)]
struct Line {
    /// When the request arrived, RFC 3339 in UTC.
    time: Timestamp,
    /// Name of the token; null for tokens of the settings and where none is required.
    token: Option<String>,
    /// Whether the caller had a token of the settings.
    operator: bool,
    /// Address of the client, or of the proxy before it.
    address: Option<IpAddr>,
    method: String,
    /// The path of the request, with the names in it.
    path: String,
    /// The query, as sent.
    query: Option<String>,
    /// Status of the response.
    status: u16,
    /// URL of what was created.
    created: Option<String>,
    /// As in the server's log and in `X-Request-Id`.
    request_id: Option<String>,
}

/// A request that is to be in the log, also if its client leaves before it has a response.
#[derive(Debug)]
pub(super) struct Entry {
    file: PathBuf,
    line: Option<Line>,
}

impl Entry {
    /// The entry of `request`, if the server has an audit log.
    pub(super) fn begin(state: &AppState, caller: &Caller, request: &Request) -> Option<Self> {
        let file = state.config.audit_log.clone()?;
        let id = request.extensions().get::<RequestId>();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let line = Line {
            time: Timestamp::now(),
            token: caller.token().map(ToString::to_string),
            operator: *caller == Caller::Operator,
            address: peer.map(|ConnectInfo(peer)| peer.ip().to_canonical()),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
            status: CLIENT_CLOSED_REQUEST,
            created: None,
            request_id: id.and_then(|id| id.header_value().to_str().ok()).map(str::to_owned),
        };
        Some(Self { file, line: Some(line) })
    }

    /// Writes the line, before the response is sent.
    pub(super) fn end(mut self, response: &Response) -> impl Future<Output = ()> + use<> {
        let location = response.headers().get(header::LOCATION);
        let created = location.and_then(|url| url.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        async move {
            let Some(line) = self.line.take() else { return };
            let (line, file) = (Line { status, created, ..line }, self.file.clone());
            let _ = tokio::task::spawn_blocking(move || write(&file, &line)).await;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        if std::thread::panicking() {
            line.status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        }
        // Here and now: the runtime may be shutting down, which starts no other work.
        write(&self.file, &line);
    }
}

/// Opens the log at `path` for appending, and creates it if it is missing: readable by its owner alone.
///
/// # Errors
/// It can't be opened.
pub fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    // Not blocking: a named pipe that nobody reads is an error instead of a wait.
    options.append(true).custom_flags(libc::O_NONBLOCK);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = options.create(true).mode(0o600).open(path)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file)
        }
        opened => opened,
    }
}

/// Appends a line and syncs it. The file is opened each time, so that it can be moved away meanwhile.
fn write(path: &Path, line: &Line) {
    let append = || -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = open(path)?;
        // In one call, so that lines of several requests do not mix.
        file.write_all(&text)?;
        // Not a pipe or a terminal, such as /dev/stdout in a container: those can't be synced.
        if file.metadata()?.is_file() {
            file.sync_data()?;
        }
        Ok(())
    };
    if let Err(error) = append() {
        tracing::error!(%error, path = %path.display(), entry = ?line, "can't write to the audit log");
    }
}
