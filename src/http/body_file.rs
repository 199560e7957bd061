//! A request body that goes into a temporary file.

use axum::body::Body;
use futures::StreamExt as _;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;

use super::{
    body::{incomplete_body, too_large},
    error::of_disk,
    problem::Problem,
    state::App,
};

/// Writes a body of at most `max_bytes` to a file in the data directory, which is removed on drop.
///
/// # Errors
/// The body is incomplete or larger, or can't be written.
pub(super) async fn body_file(
    app: &App,
    body: Body,
    max_bytes: u64,
) -> Result<NamedTempFile, Problem> {
    let file = NamedTempFile::new_in(app.data_dir.tmp()).map_err(|error| of_disk(&error))?;
    let clone = file.reopen().map_err(|error| of_disk(&error))?;
    let mut writer = tokio::fs::File::from_std(clone);
    let mut bytes = 0;
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| incomplete_body(&error))?;
        bytes += chunk.len() as u64;
        if bytes > max_bytes {
            return Err(too_large(max_bytes));
        }
        writer.write_all(&chunk).await.map_err(|error| of_disk(&error))?;
    }
    writer.flush().await.map_err(|error| of_disk(&error))?;
    Ok(file)
}
