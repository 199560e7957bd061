//! Removes what nothing refers to any more: images, folders of jobs, files of models, and decoded
//! images once most of them are of photos that are gone.
//!
//! One task of the server, at start and every hour; nothing waits for it.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::Path,
    str::FromStr,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    data_dir::DataDir,
    domain::{JobId, ModelId},
    error_chain::chain,
    http::state::{App, AppState},
    registry::embedded,
    scheduler, storage,
    storage::{jobs, models},
    training::cache,
};

const EVERY: Duration = Duration::from_secs(3600);

/// What can go wrong; the next round tries again.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Scheduler(#[from] scheduler::Error),
    #[error(transparent)]
    Datasets(#[from] crate::datasets::Error),
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Cleans up now and then, until the server shuts down.
pub async fn run(app: AppState) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        if let Err(error) = round(&app).await {
            tracing::warn!(error = chain(&error), "cleaning up failed; trying again in an hour");
        }
    }
}

async fn round(app: &App) -> Result<(), Error> {
    // A damaged page may have lost rows: the files they refer to would look unused.
    app.storage.verify().await.inspect_err(|error| {
        tracing::error!(
            error = chain(error),
            "the database is damaged: nothing is removed; restore the data directory from a backup"
        );
    })?;
    // That images must stay does not keep the rest from being cleaned up.
    let swept = sweep_images(app).await;
    // A job whose outcome could not be saved yet has a model that no row knows.
    if app.scheduler.unsaved() == 0 {
        let (jobs, models) = known(app).await?;
        let data_dir = app.data_dir.clone();
        tokio::task::spawn_blocking(move || remove_unknown(&data_dir, &jobs, &models))
            .await
            .map_err(io::Error::other)??;
    }
    swept
}

async fn sweep_images(app: &App) -> Result<(), Error> {
    let (_guard, frozen) = app.scheduler.frozen_images().await?;
    app.datasets.sweep(frozen).await?;
    Ok(())
}

async fn known(app: &App) -> Result<(HashSet<JobId>, HashSet<ModelId>), Error> {
    let mut connection = app.storage.read().await?;
    let known = jobs::statuses(&mut connection).await?.into_iter().map(|(id, _)| id).collect();
    let models = models::best_first(&mut connection, embedded::NAME).await?;
    Ok((known, models.into_iter().collect()))
}

fn remove_unknown(
    data_dir: &DataDir,
    jobs: &HashSet<JobId>,
    models: &HashSet<ModelId>,
) -> io::Result<()> {
    for path in unknown(&data_dir.jobs(), jobs)? {
        tracing::info!(path = %path.display(), "removing the folder of a deleted job");
        fs::remove_dir_all(path)?;
    }
    for path in unknown(&data_dir.models(), models)? {
        tracing::info!(path = %path.display(), "removing the file of a deleted model");
        fs::remove_file(path)?;
    }
    let images = walkdir::WalkDir::new(data_dir.blobs()).min_depth(2).into_iter().count();
    cache::discard_useless(&data_dir.cache(), images)
}

/// What lies in `folder` under an id that is not `known`. An id is younger than its row's
/// snapshot where it was made a moment ago; those are left for the next round.
fn unknown<T>(folder: &Path, known: &HashSet<T>) -> io::Result<Vec<std::path::PathBuf>>
where
    T: FromStr + Eq + std::hash::Hash,
{
    let mut unknown = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let Some(id) = id else { continue };
        if !known.contains(&id)
            && File::open(&path)?.metadata()?.modified()?.elapsed().is_ok_and(|age| age > EVERY)
        {
            unknown.push(path);
        }
    }
    Ok(unknown)
}
