//! The only place where an error is mapped to a status.

use std::{io, time::Duration};

use axum::http::StatusCode;

use super::problem::Problem;
use crate::{
    access, blobs,
    datasets::{self, archive::ArchiveError, report::Report},
    domain::excerpt::Excerpt,
    error_chain::chain,
    inference::EngineError,
    journal,
    memory_budget::OverBudget,
    pretrained, registry, scheduler, storage, vision, webhooks,
    weights::vgg16::ConvertError,
};

impl From<storage::Error> for Problem {
    fn from(error: storage::Error) -> Self {
        (&error).into()
    }
}

impl From<&storage::Error> for Problem {
    fn from(error: &storage::Error) -> Self {
        match error {
            storage::Error::NameTaken(_) => {
                Self::new(StatusCode::CONFLICT, "name_taken", error.to_string())
            }
            _ if error.is_disk_full() => disk_full(),
            _ if error.is_read_only() => read_only(),
            _ if error.is_damage() => {
                tracing::error!(error = chain(error), "the database is damaged");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "database_damaged",
                    "the database is damaged; run `pawprint doctor`, or `pawprint restore` a backup",
                )
            }
            _ => Self::internal(error),
        }
    }
}

impl From<access::Error> for Problem {
    fn from(error: access::Error) -> Self {
        use access::Error;
        let detail = error.to_string();
        match error {
            Error::Open => Self::new(StatusCode::CONFLICT, "no_token_required", detail),
            Error::NoScope => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
                .with("field", "scopes"),
            Error::NoSuchToken(name) => Self::not_found("token", name),
            Error::Random(error) => Self::internal(&error),
            Error::Storage(error) => error.into(),
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
                let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail);
                match invalid.field() {
                    Some(field) => problem.with("field", format!("params.{field}")),
                    None => problem,
                }
            }
            Error::Head(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
                .with("field", "params.head_from"),
            Error::Status { .. } => Self::new(StatusCode::CONFLICT, "wrong_status", detail),
            Error::DoesNotFit { resource, needed, available } => {
                Self::new(StatusCode::CONFLICT, "does_not_fit", detail)
                    .with("resource", resource)
                    .with("needed", needed)
                    .with("available", available)
            }
            Error::ProbeRunning => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "probe_running", detail)
                    .retry_after(Duration::from_secs(5))
            }
            Error::WeightsMissing(_) => {
                Self::new(StatusCode::CONFLICT, "weights_unavailable", detail)
            }
            Error::ShuttingDown => Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail),
            Error::Folder(source) => of_disk(&source),
            Error::Datasets(error) => error.into(),
            Error::Storage(error) => error.into(),
        }
    }
}

impl From<webhooks::Error> for Problem {
    fn from(error: webhooks::Error) -> Self {
        use webhooks::Error;
        let detail = error.to_string();
        let invalid = |field: &str, detail| {
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
                .with("field", field)
        };
        match error {
            Error::NoSuchWebhook(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Error::Url(_) => invalid("url", detail),
            Error::NoEvents => invalid("events", detail),
            Error::Secret => invalid("secret", detail),
            Error::TooMany => Self::new(StatusCode::CONFLICT, "too_many", detail),
            Error::Random(error) => Self::internal(&error),
            Error::NoClient(_) => Self::internal(&error),
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
            Error::HasAlias(_, alias) => Self::new(StatusCode::CONFLICT, "has_alias", detail)
                .with("alias", alias.to_string()),
            Error::NoSuchAlias(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Error::NotAnAlias(_) => Self::new(StatusCode::CONFLICT, "name_taken", detail),
            Error::NoPrevious(_) => Self::new(StatusCode::CONFLICT, "no_previous", detail),
            Error::Embedded => Self::new(StatusCode::CONFLICT, "embedded_model", detail),
            Error::OtherModel(_) => Self::new(StatusCode::CONFLICT, "other_model", detail),
            Error::Disk(error) => of_disk(&error),
            Error::Storage(error) => error.into(),
        }
    }
}

impl From<pretrained::Error> for Problem {
    fn from(error: pretrained::Error) -> Self {
        use pretrained::Error;
        let detail = error.to_string();
        match error {
            Error::Convert(ConvertError::Io { reason: source, .. }) | Error::Io { source, .. } => {
                of_disk(&source)
            }
            Error::Convert(ConvertError::TooLarge { .. }) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
            }
            Error::Convert(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "weights_unusable", detail)
            }
            Error::Downloading => Self::new(StatusCode::CONFLICT, "downloading", detail),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::QueueFull => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "queue_full",
                "too many prediction requests are in progress; try again shortly",
            )
            .retry_after(Duration::from_secs(1)),
            EngineError::DeadlineExceeded(_) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", error.to_string())
            }
            EngineError::Failed(_) | EngineError::WorkerStopped => Self::internal(&error),
        }
    }
}

/// An image of a request that can't be used: which one, and why.
pub fn unreadable(error: &vision::PrepareError, index: usize, name: Option<&str>) -> Problem {
    let which =
        name.map_or_else(|| format!("image {index}"), |name| format!("`{}`", Excerpt(name)));
    let status = match error.code() {
        "unsupported_type" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "too_many_pixels" => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, error.code(), format!("{which}: {error}")).with("index", index)
}

/// 507 where the system refuses to write for a reason that a person can mend.
pub fn of_disk(error: &io::Error) -> Problem {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => disk_full(),
        ReadOnlyFilesystem | PermissionDenied => read_only(),
        _ => Problem::internal(error),
    }
}

fn read_only() -> Problem {
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "read_only",
        "the data directory is not writable: its file system is read-only or its permissions deny access; fix this and try again",
    )
}

/// 507: the disk of the data directory is full.
fn disk_full() -> Problem {
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "disk_full",
        "the disk of the data directory is full; free up space and try again",
    )
}

impl From<journal::Error> for Problem {
    fn from(error: journal::Error) -> Self {
        use journal::Error;
        let detail = error.to_string();
        match error {
            Error::NoPrediction(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Error::NoPhoto(_) => Self::new(StatusCode::NOT_FOUND, "photo_not_kept", detail),
            Error::Off => Self::new(StatusCode::CONFLICT, "prediction_log_off", detail),
            Error::UnknownLabel { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_label", detail)
                    .with("field", "label")
            }
            Error::Photos(error) => error.into(),
            Error::Task(error) => Self::internal(&error),
            Error::Storage(error) => error.into(),
        }
    }
}

impl From<blobs::Error> for Problem {
    fn from(error: blobs::Error) -> Self {
        datasets::Error::from(error).into()
    }
}

impl From<OverBudget> for Problem {
    fn from(error: OverBudget) -> Self {
        match error {
            OverBudget::UsedUp => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "memory_full", error.to_string())
                    .retry_after(Duration::from_secs(1))
            }
            OverBudget::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error.to_string())
            }
        }
    }
}

impl From<datasets::Error> for Problem {
    fn from(error: datasets::Error) -> Self {
        use datasets::Error as E;
        let (status, code) = match error {
            E::Disk { source, .. } => return of_disk(&source),
            E::Storage(error) => return error.into(),
            E::Archive { error, report } => return unread_archive(&error, &report),
            E::NoDataset(name) => return Self::not_found("dataset", name),
            E::NoImage(id) => return Self::not_found("image", id),
            E::DatasetDeleted => (StatusCode::NOT_FOUND, "not_found"),
            E::UnknownLabel { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "unknown_label"),
            E::NoClass { .. } => (StatusCode::NOT_FOUND, "not_found"),
            E::Unlabelled => (StatusCode::CONFLICT, "unlabelled"),
            E::ClassExists { .. } => (StatusCode::CONFLICT, "class_exists"),
            E::ClassNotEmpty { .. } => (StatusCode::CONFLICT, "class_not_empty"),
            E::ClassName(_) | E::Classes(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_value"),
            E::InUse { .. } => (StatusCode::CONFLICT, "dataset_in_use"),
            E::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            E::TooManyFiles { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_files"),
            E::OverBudget(error) => return error.into(),
            E::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            E::Damaged(_) => {
                tracing::error!(%error, "a stored image is damaged");
                return Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "image_damaged",
                    "the stored image is damaged or missing; upload it again to repair it",
                );
            }
            E::Decode(_) | E::Resize(_) | E::Encode(_) | E::WorkerPanicked => {
                return Self::internal(&error);
            }
        };
        Self::new(status, code, error.to_string())
    }
}

/// An archive that could not be read to its end, with the report of the part that was read.
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
    let lists = serde_json::to_value(&report.rejected)
        .and_then(|rejected| Ok((rejected, serde_json::to_value(&report.ignored)?)));
    match lists {
        Ok((rejected, ignored)) => problem.with("rejected", rejected).with("ignored", ignored),
        Err(_) => problem,
    }
}
