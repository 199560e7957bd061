//! The number of uploads at once: each has temporary files and a share of the disk's speed.

use std::time::Duration;

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{problem::Problem, state::AppState};

/// When to try again: an upload of some images is over by then.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A handler with this parameter is an upload. It gives its place back when it ends.
#[derive(Debug)]
pub struct UploadSlot {
    _permit: OwnedSemaphorePermit,
}

impl FromRequestParts<AppState> for UploadSlot {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        let permit = std::sync::Arc::clone(&app.uploads).try_acquire_owned();
        permit.map(|permit| Self { _permit: permit }).map_err(|_| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_uploads",
                "too many uploads are in progress; try again shortly",
            )
            .retry_after(RETRY_AFTER)
        })
    }
}
