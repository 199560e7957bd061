//! Why a download failed.

use std::{error::Error as _, io, path::PathBuf, time::Duration};

use reqwest::StatusCode;

use super::Checksum;

/// Why a file can't be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server can't be reached.
    #[error("can't reach {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// The network's error.
        reason: String,
    },
    /// The connection broke, or the response was invalid.
    #[error("the download of {url} was interrupted: {reason}")]
    Interrupted {
        /// The address.
        url: String,
        /// The network's error.
        reason: String,
    },
    /// The server stopped sending.
    #[error("no data from {url} for {} s", .timeout.as_secs())]
    Stalled {
        /// The address.
        url: String,
        /// How long it sent nothing.
        timeout: Duration,
    },
    /// The server returned an error.
    #[error("can't download {url}: {}", describe(*.status))]
    Status {
        /// The address.
        url: String,
        /// Its status.
        status: StatusCode,
    },
    /// The file exceeds the size limit.
    #[error("{url} exceeds the limit of {max_bytes} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        max_bytes: u64,
    },
    /// The checksum does not match.
    #[error(
        "checksum mismatch for {url}: {} is {found}, expected {expected}",
        .expected.name()
    )]
    Checksum {
        /// The address.
        url: String,
        /// The published checksum.
        expected: Checksum,
        /// The checksum of the received file, in hex.
        found: String,
    },
    /// The file system failed.
    #[error("can't read or write {path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
}

impl DownloadError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { reason, .. } if reason.kind() == io::ErrorKind::StorageFull)
    }

    /// Whether another attempt may succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } | Self::Stalled { .. } => true,
            Self::Status { status, .. } => is_transient(*status),
            Self::TooLarge { .. } | Self::Checksum { .. } | Self::Io { .. } => false,
        }
    }

    /// The error of reqwest for `url`.
    pub(super) fn transport(url: &str, error: &reqwest::Error) -> Self {
        let (url, reason) = (url.to_owned(), root_cause(error));
        if error.is_connect() {
            Self::Unreachable { url, reason }
        } else {
            Self::Interrupted { url, reason }
        }
    }
}

fn is_transient(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

fn describe(status: StatusCode) -> String {
    let meaning = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => "file not found",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "access denied",
        _ if is_transient(status) => "server temporarily unavailable",
        _ => "unexpected response",
    };
    format!("{meaning} ({status})")
}

/// The root cause below reqwest's own messages.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(|error| error.source()) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}
