//! `pawprint backup`: a consistent copy of a data directory, also beside a server that uses it.
//!
//! First the database is copied, as of one moment; then every file that this copy refers to. The
//! server goes on meanwhile: a file that it has deleted since is noticed as missing, and then the
//! database is copied anew, with the files that the new copy refers to as well. What is missing
//! twice in a row is missing indeed, and the backup says so.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sqlx::SqliteConnection;

use super::{
    Error, Progress, cause,
    copier::Copier,
    files,
    place::{About, Place},
};
use crate::{
    blobs::Blobs,
    data_dir::{DATABASE, DataDir, PREDICTIONS},
    domain::{JobId, Timestamp, base::Base, dataset::Digest, job::JobStatus, model::Model},
    executors::local::LOG,
    model_file,
    storage::{
        self, images, jobs, models, predictions,
        upkeep::{self, JobRow, Totals},
    },
    training::{
        finish::EVALUATION,
        spec::{self, HEAD, MANIFEST, SPEC, Spec},
    },
    weights::{self, checkpoint, vgg16},
};

/// Copies of the database that are made while the server deletes files that they refer to.
const ATTEMPTS: u32 = 5;
/// What else lies in a job's folder, and is kept where it does.
const OTHERS: [&str; 3] = [LOG, EVALUATION, HEAD];

/// A backup that was made.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where it lies.
    pub backup: PathBuf,
    /// What it holds.
    #[serde(flatten)]
    pub about: About,
    /// Bytes that were written; the others were in the backup before.
    pub copied_bytes: u64,
    /// Files that are damaged or missing in the data directory; the backup has them from before.
    pub kept: BTreeSet<String>,
    /// Files that are damaged in the data directory, and not in the backup.
    pub damaged: BTreeSet<String>,
    /// Files that are missing in the data directory, and not in the backup.
    pub missing: BTreeSet<String>,
}

/// Makes a backup of the data directory `from` in the folder `to`, in the place of the one that is
/// there. That one stays as it is until the new one is complete.
///
/// # Errors
/// There is no data directory, `to` holds something else or can't be written, the disk is full,
/// or the database is damaged.
pub async fn run(from: &Path, to: &Path, progress: Progress<'_>) -> Result<Report, Error> {
    let no_data = || Error::NoData(from.to_owned());
    let data_dir = DataDir::look(from).map_err(|_| no_data())?;
    if !data_dir.database().is_file() {
        return Err(no_data());
    }
    if absolute(to)?.starts_with(data_dir.root()) {
        return Err(Error::Inside(to.to_owned()));
    }
    let place = Place::open(to)?;
    let before = find_before(&place)?;
    let mut copier = Copier::new(data_dir.root(), &place.incomplete(), before);
    let (contents, created_at) = copy_all(&data_dir, &mut copier, progress).await?;
    let mut report = Report {
        backup: place.root().to_owned(),
        about: About::new(data_dir.root(), created_at, contents.totals, 0, 0),
        copied_bytes: copier.copied_bytes(),
        kept: copier.kept().clone(),
        damaged: copier.damaged().clone(),
        missing: copier.missing().clone(),
    };
    let incomplete = place.incomplete();
    let sums = copier.finish()?;
    for file in sums.keys() {
        let path = incomplete.join(file);
        report.about.files += 1;
        report.about.bytes += fs::metadata(&path).map_err(Error::io(&path))?.len();
    }
    files::write_sums(&incomplete, &sums)?;
    files::sync_tree(&incomplete)?;
    report.about.write(&incomplete)?;
    place.commit()?;
    Ok(report)
}

/// `path` without links, of which the last parts may not be there yet.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let path = std::path::absolute(path).map_err(Error::io(path))?;
    let mut there = path.as_path();
    loop {
        if let Ok(real) = there.canonicalize() {
            let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
            return Ok(real.join(rest));
        }
        match there.parent() {
            Some(parent) => there = parent,
            None => return Ok(path),
        }
    }
}

/// The complete backup before, and the hashes of its files.
fn find_before(place: &Place) -> Result<Option<(PathBuf, files::Sums)>, Error> {
    let current = place.current();
    if !current.exists() {
        return Ok(None);
    }
    let sums = files::read_sums(&current)?;
    Ok(Some((current, sums)))
}

/// What a database says that there is.
struct Contents {
    totals: Totals,
    jobs: Vec<JobRow>,
    models: Vec<Model>,
    images: Vec<Digest>,
    /// Of logged predictions.
    photos: Vec<Digest>,
}

impl Contents {
    async fn read(connection: &mut SqliteConnection) -> Result<Self, Error> {
        let mut images: Vec<_> = images::digests(connection).await?.into_iter().collect();
        images.sort_unstable();
        Ok(Self {
            totals: upkeep::totals(connection).await?,
            jobs: upkeep::jobs(connection).await?,
            models: models::all(connection).await?,
            images,
            photos: predictions::photos(connection).await?.iter().map(|it| it.sha256).collect(),
        })
    }

    /// Whether a job has succeeded or was deleted since, by what the database says `now`: its
    /// checkpoints may be gone.
    fn is_overtaken(&self, now: &HashMap<JobId, JobStatus>) -> bool {
        let mut open = self.jobs.iter().filter(|job| job.status != JobStatus::Succeeded);
        open.any(|job| now.get(&job.id).is_none_or(|status| *status == JobStatus::Succeeded))
    }
}

/// Copies the database and what it refers to, until both agree.
async fn copy_all(
    data_dir: &DataDir,
    copier: &mut Copier,
    progress: Progress<'_>,
) -> Result<(Contents, Timestamp), Error> {
    let (path, to) = (data_dir.database(), copier.path(DATABASE));
    let unreadable = |error: storage::Error| match error {
        newer @ storage::Error::Newer { .. } => newer.into(),
        full if full.is_disk_full() => Error::DiskFull(to.clone()),
        other => Error::CopyDatabase { path: path.clone(), reason: cause(&other) },
    };
    let mut live = upkeep::open(&path).await.map_err(unreadable)?;
    upkeep::require_known(&mut live, &path).await.map_err(unreadable)?;
    let mut missing_before = BTreeSet::new();
    for attempt in 1.. {
        copier.begin();
        let created_at = Timestamp::now();
        if to.exists() {
            fs::remove_file(&to).map_err(Error::io(&to))?;
        }
        upkeep::copy(&mut live, &to).await.map_err(unreadable)?;
        let mut copy = upkeep::open(&to).await?;
        let contents = Contents::read(&mut copy).await?;
        // Without it, the file is whole by itself.
        upkeep::close(copy).await?;
        copier.written(DATABASE)?;
        copy_files(copier, &contents, &mut *progress)?;
        let now = jobs::statuses(&mut live).await?.into_iter().collect();
        let missing = copier.missing().clone();
        let is_settled = !contents.is_overtaken(&now) && missing.is_subset(&missing_before);
        if is_settled || attempt == ATTEMPTS {
            return Ok((contents, created_at));
        }
        missing_before = missing;
    }
    unreachable!("the last attempt returns")
}

fn copy_files(
    copier: &mut Copier,
    contents: &Contents,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let mut wanted: BTreeSet<Digest> = contents.images.iter().copied().collect();
    // First, since they change most.
    for job in &contents.jobs {
        wanted.extend(copy_job(copier, job)?);
    }
    for model in &contents.models {
        let file = format!("models/{}.safetensors", model.id);
        if copier.required(&file)? && is_damaged(model_file::load(&copier.path(&file)))? {
            copier.reject(&file)?;
        }
    }
    for base in Base::published() {
        let file = format!("weights/{}", base.weights_file());
        if copier.optional(&file)? && vgg16::info(&copier.path(&file)).is_err() {
            copier.reject(&file)?;
        }
    }
    // They go with their predictions, before long.
    for photo in &contents.photos {
        copier.optional(&format!("{PREDICTIONS}/{}", Blobs::name(photo)))?;
    }
    let total = wanted.len() as u64;
    for (done, digest) in (0..).zip(wanted) {
        progress(done, total);
        copier.image(digest)?;
    }
    progress(total, total);
    Ok(())
}

/// Copies the folder of a job; gives the images that it may still need.
fn copy_job(copier: &mut Copier, job: &JobRow) -> Result<Vec<Digest>, Error> {
    let folder = format!("jobs/{}", job.id);
    let goes_on = job.status != JobStatus::Succeeded;
    for name in
        OTHERS.map(str::to_owned).into_iter().chain(Base::published().map(Base::weights_file))
    {
        copier.optional(&format!("{folder}/{name}"))?;
    }
    let [spec_file, manifest] = [SPEC, MANIFEST].map(|name| format!("{folder}/{name}"));
    if !goes_on {
        copier.optional(&spec_file)?;
        copier.optional(&manifest)?;
        return Ok(Vec::new());
    }
    if copier.required(&spec_file)? && Spec::load(&copier.path(&folder)).is_err() {
        copier.reject(&spec_file)?;
    }
    let read = |copier: &Copier| {
        let folder = copier.path(&folder);
        let (spec, samples) = (Spec::load(&folder).ok()?, spec::read_manifest(&folder).ok()?);
        (spec.version_of(&samples) == job.dataset_version).then_some(samples)
    };
    if copier.required(&manifest)? && read(copier).is_none() {
        copier.reject(&manifest)?;
    }
    for checkpoints in checkpoint::FOLDERS {
        copy_checkpoint(copier, &format!("{folder}/{checkpoints}"))?;
    }
    Ok(read(copier).into_iter().flatten().map(|sample| sample.sha256).collect())
}

/// Copies the newest whole checkpoint of a folder. A trainer may replace it meanwhile.
fn copy_checkpoint(copier: &mut Copier, folder: &str) -> Result<(), Error> {
    let (mut seen, mut damaged) = (BTreeSet::new(), Vec::new());
    // Listed anew each time: the trainer may have replaced them.
    while let Some(file) = newest_but(&copier.source(folder), folder, &seen) {
        seen.insert(file.clone());
        if !copier.optional(&file)? {
            continue;
        }
        match checkpoint::read(&copier.path(&file)) {
            Err(error @ weights::Error::Io { .. }) => return Err(error.into()),
            Ok(_) => return Ok(()),
            Err(_) => {
                copier.withdraw(&file);
                damaged.push(file);
            }
        }
    }
    let Some(newest) = damaged.first() else { return Ok(()) };
    // None is whole: better an older one of the backup before than none.
    copier.reject(copier.before(folder).last().unwrap_or(newest))
}

/// The newest checkpoint at `path`, as it is called in a backup's `folder`, but for those `seen`.
fn newest_but(path: &Path, folder: &str, seen: &BTreeSet<String>) -> Option<String> {
    let paths = checkpoint::newest_first(path).ok()?;
    let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
    names.map(|name| format!("{folder}/{name}")).find(|file| !seen.contains(file))
}

/// Whether a file was read and has a content that can't be right.
fn is_damaged<T>(read: Result<T, weights::Error>) -> Result<bool, Error> {
    match read {
        Err(error @ weights::Error::Io { .. }) => Err(error.into()),
        Err(weights::Error::Format { .. }) => Ok(true),
        // Of a newer form, say.
        Err(weights::Error::Content { .. }) | Ok(_) => Ok(false),
    }
}
