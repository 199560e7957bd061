//! The only place where an error becomes a status.

use std::time::Duration;

use axum::{extract::multipart::MultipartError, http::StatusCode};

use super::problem::Problem;
use crate::{inference::EngineError, registry, scheduler, storage, vision};

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

impl From<scheduler::Error> for Problem {
    fn from(error: scheduler::Error) -> Self {
        use scheduler::Error;
        let detail = error.to_string();
        match error {
            Error::NoSuchJob(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Error::NotTrainable(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "dataset_not_trainable", detail)
            }
            Error::Param(invalid) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
                    .with("field", format!("params.{}", invalid.field))
            }
            Error::Status { .. } => Self::new(StatusCode::CONFLICT, "wrong_status", detail),
            Error::Folder(source) if source.kind() == std::io::ErrorKind::StorageFull => disk_full(),
            Error::Folder(source) => Self::internal(&source),
            Error::Datasets(error) => error.into(),
            Error::Storage(error) => error.into(),
        }
    }
}

impl From<registry::Error> for Problem {
    fn from(error: registry::Error) -> Self {
        use registry::Error;
        let detail = error.to_string();
        match error {
            Error::NoSuchModel(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Error::NoModel => Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_model", detail),
            Error::Unusable(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "model_unusable", detail)
            }
            Error::InService(_) => Self::new(StatusCode::CONFLICT, "in_service", detail),
            Error::Storage(error) => error.into(),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::QueueFull => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "queue_full",
                "too many predictions are waiting; try again shortly",
            )
            .retry_after(Duration::from_secs(1)),
            EngineError::Failed(_) | EngineError::Gone => Self::internal(&error),
        }
    }
}

impl From<MultipartError> for Problem {
    fn from(error: MultipartError) -> Self {
        let (status, code) = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            _ => (StatusCode::BAD_REQUEST, "malformed"),
        };
        Self::new(status, code, error.body_text())
    }
}

impl From<axum::extract::multipart::MultipartRejection> for Problem {
    fn from(rejection: axum::extract::multipart::MultipartRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", rejection.body_text())
    }
}

/// An image of a request that can't be judged: which one, and why.
pub fn unreadable(error: &vision::PrepareError, index: usize, name: Option<&str>) -> Problem {
    let which = name.map_or_else(|| format!("image {index}"), |name| format!("image {index} (`{name}`)"));
    let status = match error.code() {
        "unsupported_type" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "too_many_pixels" => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, error.code(), format!("{which}: {error}")).with("index", index)
}

/// 507: the file system that holds the data directory has no room left.
pub fn disk_full() -> Problem {
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "disk_full",
        "the disk that holds the data directory is full; make room and try again",
    )
}
