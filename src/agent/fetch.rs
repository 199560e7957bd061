//! Fetches a job: its files, and the images and weights that this node doesn't have yet.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::{
    connection::Connection,
    workspace::{Workspace, used},
};
use crate::{
    blobs::Blobs,
    domain::dataset::Digest,
    executors::{
        protocol::{FileEntry, Welcome},
        upload::hash,
    },
    training::spec::{self, Spec},
};

/// Images that are fetched at the same time.
const CONCURRENT: usize = 16;
/// Images that are made durable together.
const BATCH: usize = 256;
/// What is wrong if an image can't be stored.
const UNWRITABLE: &str = "can't write images on this node";
/// How often a file is fetched that does not match its hash.
const TRIES: usize = 3;

/// Fetches all that the trainer reads into its folder and the node's cache.
pub(super) async fn all(
    connection: &Connection,
    workspace: &Workspace,
    welcome: &Welcome,
) -> anyhow::Result<()> {
    let folder = workspace.folder();
    for file in &welcome.files {
        let path = folder.join(&file.name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)?;
        // Checkpoints belong to one job; other weights to many.
        let is_shared = file.name.ends_with(".safetensors") && parent == folder;
        if is_shared {
            let shared = workspace.weights().join(file.sha256.to_string());
            shared_file(connection, file, &shared).await?;
            fs::hard_link(&shared, &path).or_else(|_| fs::copy(&shared, &path).map(drop))?;
        } else {
            fetched(connection, file, &path).await?;
        }
    }
    Spec::relocate(folder, workspace.images(), workspace.decoded())
        .context("can't read the job's spec")?;
    images(connection, workspace).await
}

/// Has a file in the cache of this node.
async fn shared_file(connection: &Connection, file: &FileEntry, path: &Path) -> anyhow::Result<()> {
    let known = path.to_owned();
    let expected = file.sha256;
    let is_there = spawn_blocking(move || {
        hash(&known).is_ok_and(|found| found == expected) && used(&known).is_ok()
    });
    if is_there.await? {
        return Ok(());
    }
    // Another trainer on this node may fetch the same: whoever is last replaces it by the same.
    let partial = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    fetched(connection, file, partial.path()).await?;
    partial.as_file().sync_all()?;
    partial.persist(path)?;
    Ok(())
}

/// Fetches a file, whose hash is right then.
async fn fetched(connection: &Connection, file: &FileEntry, path: &Path) -> anyhow::Result<()> {
    let name = &file.name;
    for _ in 0..TRIES {
        connection.file(name, path).await?;
        let written = path.to_owned();
        if spawn_blocking(move || hash(&written)).await?? == file.sha256 {
            return Ok(());
        }
        tracing::warn!(name, "a fetched file does not match its hash");
    }
    bail!("{name} did not match its hash {TRIES} times")
}

/// Fetches the images that this node doesn't have, or has damaged.
async fn images(connection: &Connection, workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.folder().to_owned();
    let samples = spawn_blocking(move || spec::read_manifest(&folder)).await?;
    let digests: BTreeSet<Digest> =
        samples.context("can't read the job's manifest")?.iter().map(|it| it.sha256).collect();
    let (all, blobs) = (digests.len(), workspace.blobs());
    let missing = spawn_blocking(move || {
        digests.into_iter().filter(|digest| !is_there(&blobs, digest)).collect::<Vec<_>>()
    });
    let missing = missing.await?;
    tracing::info!(images = all, missing = missing.len(), "fetching images");
    let fetches = missing.into_iter().map(|digest| {
        let blobs = workspace.blobs();
        async move {
            for _ in 0..TRIES {
                let bytes = connection.image(&digest).await?;
                let blobs = blobs.clone();
                let written = spawn_blocking(move || {
                    let is_whole = Digest::of(&bytes) == digest;
                    is_whole.then(|| blobs.write_temporary(&bytes)).transpose()
                });
                if let Some(file) = written.await?.context(UNWRITABLE)? {
                    return Ok((digest, file));
                }
            }
            bail!("image {digest} did not match its hash {TRIES} times")
        }
    });
    let mut batches = stream::iter(fetches).buffer_unordered(CONCURRENT).try_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| error.1)?;
        let blobs = workspace.blobs();
        spawn_blocking(move || blobs.put(batch)).await?.context(UNWRITABLE)?;
    }
    Ok(())
}

fn is_there(blobs: &Blobs, digest: &Digest) -> bool {
    blobs.read(digest).is_ok() && used(&blobs.path(digest)).is_ok()
}
