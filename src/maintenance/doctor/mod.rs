//! `pawprint doctor`: everything in a data directory against everything else.
//!
//! Beside a running server it only reads, and what it finds wrong is looked at again before it is
//! told: the server may have deleted it meanwhile. With `repair` it holds the lock, and mends what
//! can be mended without doubt. Nothing damaged is deleted, but set aside under `damaged/`; no row
//! is made up, and none that something could still be restored for is removed.

mod cache;
mod database;
mod finding;
mod folders;
mod images;
mod jobs;
mod models;
mod unreferenced;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sqlx::SqliteConnection;

pub use self::finding::{Code, Finding, Severity};
use self::images::Bytes;
use super::{Error, Progress, cause, files, place};
use crate::{
    data_dir::{DATABASE, DataDir},
    domain::{ModelId, dataset::Digest},
    storage::upkeep::{self, Totals},
};

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The directory that was looked at.
    pub data_dir: PathBuf,
    /// Whether it is a backup.
    pub is_backup: bool,
    /// Whether a server was using it.
    pub server_runs: bool,
    /// What its database holds, where that can be read.
    pub totals: Option<Totals>,
    /// What was found, in the order of the checks.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings of that severity are still so.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|it| it.severity == severity && !it.repaired).count()
    }

    /// Whether nothing is wrong, or nothing any more.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.count(Severity::Error) + self.count(Severity::Warning) == 0
    }
}

/// What to do about a damaged backup.
const NEW_BACKUP: &str = "make a new backup in another directory, and keep this one until then";

/// Checks the data directory at `root`, or the backup; with `repair`, mends what can be mended.
///
/// # Errors
/// There is none; a server uses it, or it is a backup, and `repair` was asked for; or it can't be
/// read.
pub async fn run(root: &Path, repair: bool, progress: Progress<'_>) -> Result<Report, Error> {
    if place::is_backup(root) {
        return check_backup(root, repair, progress).await;
    }
    require_data(root)?;
    let data_dir = if repair {
        DataDir::lock(root).map_err(|error| match error {
            crate::data_dir::Error::InUse(root) => Error::ServerRuns(root),
            other => other.into(),
        })?
    } else {
        DataDir::look(root)?
    };
    let server_runs = !repair && data_dir.is_in_use();
    let mut doctor = Doctor::new(data_dir, repair, server_runs, progress);
    if doctor.dir.restoring().exists() {
        doctor.found(
            Code::RestoreIncomplete,
            "a restore into this directory is under way or did not complete; no server opens it",
            "if it has ended, run `pawprint restore` again",
        );
        return Ok(doctor.report(false, None));
    }
    doctor.check_folders()?;
    let totals = doctor.check_rows().await?;
    doctor.check_weights()?;
    doctor.check_cache()?;
    Ok(doctor.report(false, totals))
}

async fn check_backup(root: &Path, repair: bool, progress: Progress<'_>) -> Result<Report, Error> {
    if repair {
        return Err(Error::RepairBackup(root.to_owned()));
    }
    let found = place::find(root)?;
    let mut doctor = Doctor::new(DataDir::look(&found.root)?, false, false, progress);
    doctor.check_sums(&found)?;
    let totals = doctor.check_rows().await?;
    doctor.check_weights()?;
    for finding in &mut doctor.findings {
        finding.repairable = false;
        if finding.severity != Severity::Note && finding.code != Code::SchemaNewer {
            NEW_BACKUP.clone_into(&mut finding.advice);
        }
    }
    Ok(doctor.report(true, totals))
}

/// Makes sure that `root` is a data directory, however little is left of it.
fn require_data(root: &Path) -> Result<(), Error> {
    let signs = [DATABASE, "pawprint.sqlite.restoring", "blobs", "jobs", "models"];
    if signs.iter().any(|sign| root.join(sign).exists()) {
        return Ok(());
    }
    Err(Error::NoData(root.to_owned()))
}

/// A check under way.
struct Doctor<'a> {
    dir: DataDir,
    repair: bool,
    server_runs: bool,
    progress: Progress<'a>,
    findings: Vec<Finding>,
    /// Whether an index of the database is damaged: rows may be whole that can't be read.
    index_damaged: bool,
    /// Whether it is in doubt what belongs to something: then nothing is removed.
    doubt: bool,
}

/// What the rows need of the files, as far as it was seen.
#[derive(Debug, Default)]
struct Needed {
    images: HashSet<Digest>,
    /// Those that only jobs need, and that are missing or damaged.
    lost: HashSet<Digest>,
    /// Models that jobs which are not over may be about to make.
    models: HashSet<ModelId>,
}

impl<'a> Doctor<'a> {
    fn new(dir: DataDir, repair: bool, server_runs: bool, progress: Progress<'a>) -> Self {
        Self {
            dir,
            repair,
            server_runs,
            progress,
            findings: Vec::new(),
            index_damaged: false,
            doubt: false,
        }
    }

    fn report(self, is_backup: bool, totals: Option<Totals>) -> Report {
        Report {
            data_dir: self.dir.root().to_owned(),
            is_backup,
            server_runs: self.server_runs,
            totals,
            findings: self.findings,
        }
    }

    /// Notes what is wrong and what a person can do about it.
    fn found(
        &mut self,
        code: Code,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> &mut Finding {
        self.findings.push(Finding::new(code, detail.into(), advice.into()));
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// The rows, and the files that belong to them.
    async fn check_rows(&mut self) -> Result<Option<Totals>, Error> {
        let Some(mut connection) = self.check_database().await? else { return Ok(None) };
        let checked = self.check_files_of(&mut connection).await;
        upkeep::close(connection).await?;
        checked
    }

    async fn check_files_of(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<Option<Totals>, Error> {
        let totals = self.readable(upkeep::totals(connection).await);
        let mut needed = Needed::default();
        self.check_images(connection, &mut needed).await?;
        self.check_jobs(connection, &mut needed).await?;
        self.check_models(connection).await?;
        self.check_unreferenced(connection, &needed).await?;
        Ok(totals)
    }

    /// What a query gave; notes it where it failed, as it does on a damaged database.
    fn readable<T>(&mut self, read: Result<T, crate::storage::Error>) -> Option<T> {
        read.map_err(|error| {
            self.doubt = true;
            let detail = format!("some rows of the database can't be read: {}", cause(&error));
            let advice = match self.index_damaged {
                true => "rebuild the index with --repair, then check again",
                false => "restore the last backup",
            };
            self.found(Code::RowsUnreadable, detail, advice);
        })
        .ok()
    }

    /// `path` as it is told: below the data directory.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.dir.root()).unwrap_or(path).display().to_string()
    }

    /// Sets a damaged file aside, where that was asked for; gives what was done.
    fn set_aside(&self, path: &Path) -> Result<Option<String>, Error> {
        if !self.repair {
            return Ok(None);
        }
        let inner = path.strip_prefix(self.dir.root()).unwrap_or(path);
        let mut to = self.dir.damaged().join(inner);
        while to.exists() {
            to = to.with_added_extension("again");
        }
        let folder = to.parent().unwrap_or(&to);
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        fs::rename(path, &to).map_err(Error::io(path))?;
        files::sync(folder)?;
        Ok(Some(format!("its file was moved to {}", self.shown(&to))))
    }
}
