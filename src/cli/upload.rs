//! Uploads of a whole file as a body, with a progress bar.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use reqwest::{Body, RequestBuilder, header::CONTENT_LENGTH};
use serde_json::Value;
use tokio_util::io::ReaderStream;

use super::{Session, progress::Transfer};

/// Bytes that are read at a time.
const CHUNK: usize = 128 * 1024;

/// Sends `request` with the content of a file, and reads a JSON response.
pub(super) async fn send_file(
    path: &Path,
    request: RequestBuilder,
    session: &Session,
) -> anyhow::Result<Value> {
    let shown = path.display();
    let file = tokio::fs::File::open(path).await.with_context(|| format!("can't open {shown}"))?;
    let metadata = file.metadata().await.with_context(|| format!("can't read {shown}"))?;
    if !metadata.is_file() {
        bail!("{shown} is not a file");
    }
    let transfer = Arc::new(Transfer::new(session.out, metadata.len()));
    let counter = Arc::clone(&transfer);
    let chunks = ReaderStream::with_capacity(file, CHUNK)
        .inspect_ok(move |chunk| counter.advance(chunk.len() as u64));
    let request = request.header(CONTENT_LENGTH, metadata.len()).body(Body::wrap_stream(chunks));
    let response = session.client.json(request).await;
    transfer.clear();
    Ok(response?)
}
