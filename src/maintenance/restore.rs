//! `pawprint restore`: a data directory out of a backup.
//!
//! The database lies under another name until everything else is there, and comes last: a restore
//! that breaks off leaves what no server opens, and what the next restore goes on with.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Error, Progress,
    files::{self, Copied},
    place::{About, Found, find, has_others},
};
use crate::{
    blobs::Blobs,
    data_dir::{DATABASE, DataDir, LOCK, PREDICTIONS},
    domain::{dataset::Digest, job::JobStatus},
    storage::{images, jobs, models, upkeep},
};

/// Folders of a data directory that a backup has.
const FOLDERS: [&str; 5] = ["blobs", "jobs", "models", PREDICTIONS, "weights"];

/// What was restored.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The backup that it was made of.
    pub backup: About,
    /// Jobs that the next server goes on with.
    pub unfinished_jobs: u64,
    /// Files that are damaged in the backup; they were not restored.
    pub damaged: BTreeSet<String>,
    /// Files that the backup should have and has not.
    pub missing: BTreeSet<String>,
    /// Files that were restored although the backup does not say what hash they should have.
    pub unverified: BTreeSet<String>,
}

/// Restores the backup in the folder `from` into the data directory `to`, which must be empty or
/// not there yet, and is locked meanwhile.
///
/// # Errors
/// There is no complete backup, its database is damaged or of a newer version, `to` is not empty,
/// or can't be written.
pub async fn run(from: &Path, to: &Path, progress: Progress<'_>) -> Result<Report, Error> {
    let found = find(from)?;
    require_empty(to)?;
    let data_dir = DataDir::lock(to)?;
    // Another process may have been faster.
    require_empty(data_dir.root())?;
    restore_database(&found, &data_dir).await?;
    let mut report = Report {
        data_dir: data_dir.root().to_owned(),
        backup: found.about.clone(),
        unfinished_jobs: 0,
        damaged: BTreeSet::new(),
        missing: BTreeSet::new(),
        unverified: BTreeSet::new(),
    };
    restore_files(&found, &data_dir, &mut report, progress)?;
    check(&data_dir, &mut report).await?;
    files::sync_tree(data_dir.root())?;
    let database = data_dir.database();
    fs::rename(data_dir.restoring(), &database).map_err(Error::io(&database))?;
    files::sync(data_dir.root())?;
    Ok(report)
}

/// Makes sure that nothing lies in `root` but what a restore that broke off left there.
fn require_empty(root: &Path) -> Result<(), Error> {
    let restoring = format!("{DATABASE}.restoring");
    let half = [&restoring, LOCK, FOLDERS[0], FOLDERS[1], FOLDERS[2], FOLDERS[3], FOLDERS[4]];
    let is_half = root.join(&restoring).exists();
    let known = if is_half { &half[..] } else { &[LOCK] };
    if has_others(root, known)? {
        return Err(Error::NotEmpty(root.to_owned()));
    }
    Ok(())
}

/// Copies the database to where the restored one lies until all is done.
async fn restore_database(found: &Found, data_dir: &DataDir) -> Result<(), Error> {
    let (from, to) = (found.root.join(DATABASE), data_dir.restoring());
    let damaged = || Error::DatabaseDamaged(from.clone());
    let copied = files::copy(&from, &to, found.expected(DATABASE))?;
    if !matches!(copied, Copied::Whole(_)) {
        return Err(damaged());
    }
    let mut connection = upkeep::open(&to).await?;
    let checked = match upkeep::require_known(&mut connection, &from).await {
        Ok(()) => match upkeep::integrity(&mut connection).await {
            Ok(problems) if problems.is_empty() => Ok(()),
            _ => Err(damaged()),
        },
        Err(newer @ crate::storage::Error::Newer { .. }) => Err(newer.into()),
        Err(_) => Err(damaged()),
    };
    upkeep::close(connection).await?;
    if checked.is_err() {
        fs::remove_file(&to).map_err(Error::io(&to))?;
    }
    checked
}

fn restore_files(
    found: &Found,
    data_dir: &DataDir,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let mut known: HashMap<Digest, PathBuf> = HashMap::new();
    let mut there = files::list(&found.root)?;
    there.retain(|file| FOLDERS.iter().any(|folder| file.starts_with(&format!("{folder}/"))));
    let named: HashSet<&String> = there.iter().collect();
    let missing = found.sums.keys().filter(|file| *file != DATABASE && !named.contains(file));
    report.missing.extend(missing.cloned());
    let total = there.len() as u64;
    for (done, file) in (0..).zip(there) {
        progress(done, total);
        let (from, to) = (found.root.join(&file), data_dir.root().join(&file));
        let expected = found.expected(&file);
        if let Some(expected) = expected {
            // An earlier restore may have come so far.
            if to.exists() && files::hash(&to).is_ok_and(|digest| digest == expected) {
                continue;
            }
            if let Some(known) = known.get(&expected)
                && files::link(known, &to)?
            {
                continue;
            }
        } else {
            report.unverified.insert(file.clone());
        }
        match files::copy(&from, &to, expected)? {
            // Files of weights are never written into; logs are.
            Copied::Whole(digest) if file.ends_with(".safetensors") => {
                known.insert(digest, to);
            }
            Copied::Whole(_) => {}
            Copied::Missing => drop(report.missing.insert(file)),
            Copied::Damaged => drop(report.damaged.insert(file)),
        }
    }
    progress(total, total);
    Ok(())
}

/// Leaves the trainers on other machines to the server that they report to, and notes what the restored
/// database refers to and is not there.
async fn check(data_dir: &DataDir, report: &mut Report) -> Result<(), Error> {
    let mut connection = upkeep::open(&data_dir.restoring()).await?;
    upkeep::end_attempts(&mut connection).await?;
    for id in models::ids(&mut connection).await? {
        note_missing(data_dir, report, format!("models/{id}.safetensors"));
    }
    for digest in images::digests(&mut connection).await? {
        note_missing(data_dir, report, format!("blobs/{}", Blobs::name(&digest)));
    }
    for (_, status) in jobs::statuses(&mut connection).await? {
        report.unfinished_jobs +=
            u64::from(matches!(status, JobStatus::Queued | JobStatus::Running));
    }
    Ok(upkeep::close(connection).await?)
}

fn note_missing(data_dir: &DataDir, report: &mut Report, file: String) {
    if !report.damaged.contains(&file) && !data_dir.root().join(&file).exists() {
        report.missing.insert(file);
    }
}
