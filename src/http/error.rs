//! The only place where an error becomes a status.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::storage;

impl From<storage::Error> for Problem {
    fn from(error: storage::Error) -> Self {
        match &error {
            storage::Error::NameTaken(_) => {
                Self::new(StatusCode::CONFLICT, "name_taken", error.to_string())
            }
            _ if error.is_disk_full() => disk_full(),
            _ => Self::internal(&error),
        }
    }
}

/// 507: the file system that holds the data directory has no room left.
fn disk_full() -> Problem {
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "disk_full",
        "the disk that holds the data directory is full; make room and try again",
    )
}
