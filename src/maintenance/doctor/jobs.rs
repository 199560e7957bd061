//! Rows of jobs against their folders.

use std::{io, path::Path};

use sqlx::SqliteConnection;

use super::{Bytes, Code, Doctor, Needed, Severity};
use crate::{
    domain::{
        base::Base,
        dataset::{Sample, version_of},
        job::JobStatus,
    },
    maintenance::{Error, cause},
    model_file,
    storage::{
        jobs,
        upkeep::{self, JobRow},
    },
    training::spec::{self, HEAD, MANIFEST, SPEC, Spec},
    weights::{self, checkpoint, vgg16},
};

const FROM_BACKUP: &str = "copy the file out of a backup, or delete the job";

impl Doctor<'_> {
    pub(super) async fn check_jobs(
        &mut self,
        connection: &mut SqliteConnection,
        needed: &mut Needed,
    ) -> Result<(), Error> {
        let all = upkeep::jobs(connection).await;
        let Some(all) = self.readable(all) else { return Ok(()) };
        for job in all {
            let found_before = self.findings.len();
            self.check_job(&job, needed)?;
            // Beside a server: the job may be over or gone, with its files.
            if self.findings.len() > found_before && self.server_runs {
                let now = jobs::statuses(connection).await;
                if now.is_ok_and(|now| !now.contains(&(job.id, job.status))) {
                    self.findings.truncate(found_before);
                }
            }
        }
        Ok(())
    }

    fn check_job(&mut self, job: &JobRow, needed: &mut Needed) -> Result<(), Error> {
        let folder = self.dir.job(job.id);
        if !folder.is_dir() {
            self.note_folder(job);
            return Ok(());
        }
        if job.status != JobStatus::Succeeded {
            self.check_spec(job, &folder, needed);
            self.check_manifest(job, &folder, needed);
            for checkpoints in checkpoint::FOLDERS {
                self.check_checkpoints(job, &folder.join(checkpoints))?;
            }
            self.check_head(job, &folder);
        }
        for base in Base::published() {
            let file = folder.join(base.weights_file());
            if let (true, Err(error)) = (file.exists(), vgg16::info(&file)) {
                let detail = format!(
                    "job {}: the {} weights it began with are damaged: {}",
                    job.name,
                    base.title,
                    cause(&error)
                );
                self.found(Code::JobWeights, detail, FROM_BACKUP);
            }
        }
        Ok(())
    }

    fn note_folder(&mut self, job: &JobRow) {
        let (lost, advice) = match job.status {
            JobStatus::Succeeded => ("its log is gone", "nothing else needs the folder"),
            JobStatus::Queued | JobStatus::Running => {
                ("it will fail", "copy the folder out of a backup, or cancel the job")
            }
            _ => ("it can't be resumed", "copy the folder out of a backup, or delete the job"),
        };
        self.doubt |= job.status != JobStatus::Succeeded;
        let detail = format!("job {}: its folder jobs/{} is missing; {lost}", job.name, job.id);
        let finding = self.found(Code::JobFolderMissing, detail, advice);
        if job.status == JobStatus::Succeeded {
            finding.severity = Severity::Warning;
        }
    }

    fn check_spec(&mut self, job: &JobRow, folder: &Path, needed: &mut Needed) {
        let problem = match Spec::load(folder) {
            Ok(spec) if spec.job_id == job.id => {
                needed.models.insert(spec.model_id);
                return;
            }
            Ok(spec) => format!("is that of job {}", spec.job_id),
            Err(error) => format!("can't be read: {error}"),
        };
        self.doubt = true;
        let detail = format!("job {}: its {SPEC} {problem}; it can't go on", job.name);
        self.found(Code::JobSpec, detail, FROM_BACKUP);
    }

    fn check_manifest(&mut self, job: &JobRow, folder: &Path, needed: &mut Needed) {
        // A damaged spec is reported on its own.
        let spec = Spec::load(folder).ok();
        let version = |samples: &[Sample]| {
            spec.as_ref().map_or_else(|| version_of(samples, None), |it| it.version_of(samples))
        };
        let problem = match spec::read_manifest(folder) {
            Ok(samples) if version(&samples) == job.dataset_version => {
                let mut lost = Vec::new();
                for digest in samples.iter().map(|sample| sample.sha256) {
                    // Those of rows, and of jobs before, were looked at already.
                    if needed.images.insert(digest) && self.bytes_of(&digest) != Bytes::Whole {
                        needed.lost.insert(digest);
                    }
                    if needed.lost.contains(&digest) {
                        lost.push(digest);
                    }
                }
                if let Some(first) = lost.first() {
                    let detail = format!(
                        "job {}: {} of its images, which no dataset has any more, are missing or damaged, the first being {first}; it can't go on",
                        job.name,
                        lost.len()
                    );
                    let advice = "copy the files out of a backup, or start a new job";
                    self.found(Code::JobImages, detail, advice);
                }
                return;
            }
            Ok(_) => "is not the dataset version that the job was made with".to_owned(),
            Err(error) => format!("can't be read: {error}"),
        };
        self.doubt = true;
        let detail = format!("job {}: its {MANIFEST} {problem}; it can't go on", job.name);
        self.found(Code::JobManifest, detail, FROM_BACKUP);
    }

    /// The state that a job goes on from.
    fn check_checkpoints(&mut self, job: &JobRow, folder: &Path) -> Result<(), Error> {
        let paths = match checkpoint::newest_first(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(Error::io(folder))?,
        };
        let mut damaged = Vec::new();
        let mut has_whole = false;
        for path in paths {
            match checkpoint::read(&path) {
                Ok(_) => has_whole = true,
                // The trainer has written a newer one meanwhile.
                Err(weights::Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => damaged.push((path, error)),
            }
        }
        for (path, error) in damaged {
            let then = if has_whole { "the one before it is used" } else { "training begins anew" };
            let detail = format!(
                "job {}: its checkpoint {} is damaged; {then} ({})",
                job.name,
                self.shown(&path),
                cause(&error)
            );
            let done = match error {
                weights::Error::Io { .. } => None,
                _ => self.set_aside(&path)?,
            };
            let advice = match has_whole {
                true => "set it aside with --repair",
                false => "copy an older one out of a backup, or set it aside with --repair",
            };
            self.found(Code::CheckpointDamaged, detail, advice).repairable(done);
        }
        Ok(())
    }

    fn check_head(&mut self, job: &JobRow, folder: &Path) {
        if job.params.head_from.is_none() {
            return;
        }
        if let Err(error) = model_file::load(&folder.join(HEAD)) {
            let detail = format!(
                "job {}: the head it begins with is missing or damaged: {}",
                job.name,
                cause(&error)
            );
            self.found(Code::JobWeights, detail, FROM_BACKUP);
        }
    }
}
