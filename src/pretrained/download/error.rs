//! Why a download failed.

use std::{error::Error as _, io, path::PathBuf, time::Duration};

use reqwest::StatusCode;

use super::Checksum;

/// Why a file can't be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Nobody answers there.
    #[error("can't reach {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The connection broke, or what came is no answer to what was asked.
    #[error("the download of {url} broke off: {reason}")]
    Interrupted {
        /// The address.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The server fell silent.
    #[error("{url} has sent nothing for {} seconds", .timeout.as_secs())]
    Stalled {
        /// The address.
        url: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The server refuses.
    #[error("{url} can't be downloaded: {}", describe(*.status))]
    Status {
        /// The address.
        url: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The server sends more than any such file has.
    #[error("{url} sends more than {max_bytes} bytes, which no file of weights has")]
    TooLarge {
        /// The address.
        url: String,
        /// What would have been taken.
        max_bytes: u64,
    },
    /// What arrived is another file.
    #[error(
        "what {url} sends is not the file that was published: its {} is {found}, not {expected}",
        .expected.name()
    )]
    Checksum {
        /// The address.
        url: String,
        /// The published one.
        expected: Checksum,
        /// That of what arrived, in hex.
        found: String,
    },
    /// The file system refused.
    #[error("can't read or write {path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
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

    /// What reqwest said of `url`.
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
        StatusCode::NOT_FOUND | StatusCode::GONE => "the file is not there any more",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "the server does not give it to us",
        _ if is_transient(status) => "the server can't answer at the moment",
        _ => "the server's answer is not the file",
    };
    format!("{meaning} ({status})")
}

/// What lies under reqwest's own words.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(|error| error.source()) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}
