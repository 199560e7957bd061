//! The only place where an error becomes a status.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::{
    datasets::{self, archive::ArchiveError, report::Report},
    storage,
};

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

impl From<datasets::Error> for Problem {
    fn from(error: datasets::Error) -> Self {
        use datasets::Error as E;
        if error.is_disk_full() {
            return disk_full();
        }
        let (status, code) = match error {
            E::Storage(error) => return error.into(),
            E::Archive { error, report } => return unread_archive(&error, &report),
            E::NoDataset(name) => return Self::not_found("dataset", name),
            E::NoImage(id) => return Self::not_found("image", id),
            E::GoneDataset => (StatusCode::NOT_FOUND, "not_found"),
            E::UnknownLabel { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "unknown_label"),
            E::InUse { .. } => (StatusCode::CONFLICT, "dataset_in_use"),
            E::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            E::TooManyFiles { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_files"),
            E::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            E::Damaged(_) => {
                tracing::error!(%error, "a stored image is damaged");
                return Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "image_damaged",
                    "the stored bytes of this image are damaged or missing; upload the photo again to repair it",
                );
            }
            E::Decode(_) | E::Resize(_) | E::Encode(_) | E::Disk { .. } | E::WorkerDied => {
                return Self::internal(&error);
            }
        };
        Self::new(status, code, error.to_string())
    }
}

/// An archive that was not read to its end, with what became of the part that was.
fn unread_archive(error: &ArchiveError, report: &Report) -> Problem {
    let (status, code) = match error {
        ArchiveError::NotAnArchive(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_type"),
        ArchiveError::TooManyEntries { .. } | ArchiveError::Unpacked { .. } => {
            (StatusCode::PAYLOAD_TOO_LARGE, "archive_too_large")
        }
        ArchiveError::Damaged(_) => (StatusCode::UNPROCESSABLE_ENTITY, "archive_damaged"),
    };
    let problem = Problem::new(status, code, error.to_string())
        .with("added", report.added)
        .with("duplicates", report.duplicates)
        .with("rejected_total", report.rejected_total);
    match serde_json::to_value(&report.rejected) {
        Ok(rejected) => problem.with("rejected", rejected),
        Err(_) => problem,
    }
}
