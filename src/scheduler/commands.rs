//! Commands of users: create, cancel, stop, resume and delete jobs.

use std::{collections::HashSet, fs, io, path::PathBuf};

use serde::Deserialize;
use tokio::sync::MutexGuard;
use utoipa::ToSchema;

use super::{
    Error, Scheduler,
    blocking::blocking,
    trainable::{CreatedJob, check_trainable},
    weights::link,
};
use crate::{
    domain::{
        DatasetId, JobId, ModelId, Name,
        dataset::{Digest, Sample},
        job::{ControlRequest, Job, JobError, JobStatus},
        parameters::ParamOverrides,
        recipe::Recipe,
    },
    storage::{self, job_events, jobs, models, webhooks},
    training::{
        control::Command,
        spec::{self, Spec},
    },
};

/// New training job.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// Training recipe.
    pub recipe: Recipe,
    /// Name or id of the dataset to train on.
    pub dataset: String,
    /// Name of the job and its model. Default: generated.
    pub name: Option<Name>,
    /// Overrides of the recipe's default parameters.
    #[serde(default)]
    pub params: ParamOverrides,
    /// Queue no job, but run a few of its steps and estimate what it needs, and whether it fits.
    #[serde(default)]
    pub dry_run: bool,
    /// Queue the job even if it needs more memory or disk space than there is.
    #[serde(default)]
    pub force: bool,
}

/// A job before it is queued: the snapshot of its dataset, and what its trainer reads.
pub(super) struct Draft {
    pub(super) dataset_id: DatasetId,
    pub(super) spec: Spec,
    pub(super) samples: Vec<Sample>,
    /// What to link into its folder, and under which name.
    pub(super) files: Vec<(PathBuf, String)>,
    pub(super) warnings: Vec<JobError>,
}

impl Scheduler {
    /// Takes a snapshot of the dataset and queues a job; warns if a class has no test images.
    ///
    /// # Errors
    /// Unknown dataset, one that can't be trained on, a parameter out of range, a taken name; or the job
    /// needs more memory or disk space than there is, as far as that is known without a probe.
    pub async fn submit(&self, new: NewJob) -> Result<CreatedJob, Error> {
        let force = new.force;
        // Until the manifest is in the job's folder, no sweep may remove its images.
        let _snapshot = self.0.snapshot_lock.lock().await;
        let draft = self.draft(new).await?;
        if !force {
            self.check_room(&draft).await?;
        }
        let Draft { dataset_id, spec, samples, files, warnings } = draft;
        let id = spec.job_id;
        let row = jobs::NewJob {
            id,
            name: spec.name.clone(),
            recipe: spec.recipe,
            dataset_id,
            dataset: spec.dataset.clone(),
            dataset_version: spec.dataset_version,
            params: spec.params.clone(),
        };
        let folder = self.0.data_dir.job(id);
        let created = blocking(move || {
            spec::Job::create(&folder, &spec, &samples)?;
            files.iter().try_for_each(|(file, name)| link(file, &folder.join(name)))
        })
        .await;
        let inserted = match created {
            Ok(()) => self.insert(&row).await,
            Err(error) => Err(Error::Folder(error)),
        };
        if inserted.is_err() {
            self.remove_folder(id).await;
        }
        Ok(CreatedJob { job: inserted?, warnings })
    }

    /// A new job with a snapshot of its dataset; nothing is written yet.
    pub(super) async fn draft(&self, new: NewJob) -> Result<Draft, Error> {
        let mut params = new.params.resolve(new.recipe)?;
        let id = JobId::new();
        let name = match new.name {
            Some(name) => name,
            None => default_name(new.recipe, id),
        };
        let manifest = self.0.datasets.manifest(&new.dataset).await?;
        let warnings = check_trainable(&manifest)?;
        let files = match (new.params.head_from(), new.recipe.base()) {
            (Some(reference), Some(base)) => {
                let head = self.find_head(reference, base, &manifest.version).await?;
                params.head_from = Some(head.job);
                head.files
            }
            _ => Vec::new(),
        };
        let spec = Spec {
            job_id: id,
            model_id: ModelId::new(),
            name,
            recipe: new.recipe,
            params,
            dataset: manifest.dataset,
            dataset_version: manifest.version,
            named_version: manifest.named_version,
            classes: manifest.classes,
            threads: self.0.config.trainer_threads(),
            max_image_pixels: self.0.config.max_image_pixels,
            blobs: self.0.data_dir.blobs(),
            cache: self.0.data_dir.cache(),
        };
        let (dataset_id, samples) = (manifest.dataset_id, manifest.samples);
        Ok(Draft { dataset_id, spec, samples, files, warnings })
    }

    async fn insert(&self, row: &jobs::NewJob) -> Result<Job, Error> {
        let mut transaction = self.0.storage.write().await?;
        if row.name.is_route() || models::name_is_taken(&mut transaction, &row.name).await? {
            return Err(storage::Error::NameTaken(row.name.to_string()).into());
        }
        jobs::insert(&mut transaction, row).await?;
        job_events::current_status(&mut transaction, row.id).await?;
        let job = jobs::get(&mut transaction, row.id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.notify_changed();
        tracing::info!(job.id = %row.id, job.name = %row.name, job.recipe = %row.recipe, "job queued");
        job.ok_or_else(|| Error::NoSuchJob(row.id.to_string()))
    }

    /// Cancels a job: at once if it is queued, after the current batch if it is running.
    ///
    /// # Errors
    /// Unknown job, or one that has finished.
    pub async fn cancel(&self, reference: &str) -> Result<Job, Error> {
        let job = self.find(reference).await?;
        let mut transaction = self.0.storage.write().await?;
        if jobs::finish(&mut transaction, job.id, JobStatus::Queued, JobStatus::Cancelled, None)
            .await?
        {
            job_events::current_status(&mut transaction, job.id).await?;
            webhooks::job_ended(&mut transaction, job.id).await?;
        } else if !jobs::request(&mut transaction, job.id, ControlRequest::Cancel).await? {
            return Err(Error::Status {
                status: job.status,
                rule: "only a queued or running job can be cancelled",
            });
        }
        transaction.commit().await.map_err(storage::Error::from)?;
        self.send_command(job.id, Command::Cancel);
        self.find(reference).await
    }

    /// Ends the training of a running job and keeps its best epoch.
    ///
    /// # Errors
    /// Unknown job, or one that is not running.
    pub async fn stop(&self, reference: &str) -> Result<Job, Error> {
        let job = self.find(reference).await?;
        let mut transaction = self.0.storage.write().await?;
        if !jobs::request(&mut transaction, job.id, ControlRequest::Stop).await? {
            return Err(Error::Status {
                status: job.status,
                rule: "only a running job can be stopped",
            });
        }
        transaction.commit().await.map_err(storage::Error::from)?;
        self.send_command(job.id, Command::Stop);
        self.find(reference).await
    }

    /// Puts a cancelled, failed or interrupted job back into the queue, to resume from its last
    /// checkpoint.
    ///
    /// # Errors
    /// Unknown job, or one that has not finished, or that succeeded.
    pub async fn resume(&self, reference: &str) -> Result<Job, Error> {
        let job = self.find(reference).await?;
        let mut transaction = self.0.storage.write().await?;
        if !job.status.is_final()
            || !job.status.can_become(JobStatus::Queued)
            || !jobs::requeue(&mut transaction, job.id, job.status, 0).await?
        {
            return Err(Error::Status {
                status: job.status,
                rule: "only a cancelled, failed or interrupted job can be resumed",
            });
        }
        job_events::current_status(&mut transaction, job.id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.notify_changed();
        self.find(reference).await
    }

    /// Deletes a finished job with its folder. Its model is kept.
    ///
    /// # Errors
    /// Unknown job, or one that has not finished.
    pub async fn delete(&self, reference: &str) -> Result<(), Error> {
        let job = self.find(reference).await?;
        let mut transaction = self.0.storage.write().await?;
        if !jobs::delete(&mut transaction, job.id).await? {
            return Err(Error::Status {
                status: job.status,
                rule: "only a finished job can be deleted; cancel it first",
            });
        }
        transaction.commit().await.map_err(storage::Error::from)?;
        self.remove_folder(job.id).await;
        self.notify_changed();
        Ok(())
    }

    /// The images that jobs may still need: those in the manifests of all jobs that have not
    /// succeeded. While the guard is held, no job takes a snapshot.
    ///
    /// # Errors
    /// The database failed, or a manifest can't be read: then it is unknown which images it needs.
    pub async fn snapshot_images(&self) -> Result<(MutexGuard<'_, ()>, HashSet<Digest>), Error> {
        let guard = self.0.snapshot_lock.lock().await;
        let statuses = {
            let mut connection = self.0.storage.read().await?;
            jobs::statuses(&mut connection).await?
        };
        let mut digests = HashSet::new();
        for (id, _) in statuses.into_iter().filter(|(_, it)| *it != JobStatus::Succeeded) {
            let folder = self.0.data_dir.job(id);
            match blocking(move || spec::read_manifest(&folder)).await {
                Ok(samples) => digests.extend(samples.into_iter().map(|sample| sample.sha256)),
                Err(error) if self.exists(id).await? => {
                    tracing::warn!(
                        job.id = %id, %error,
                        "can't read a job's manifest: no image is removed until the job is deleted"
                    );
                    return Err(Error::Folder(error));
                }
                // It was deleted meanwhile.
                Err(_) => {}
            }
        }
        Ok((guard, digests))
    }

    async fn exists(&self, id: JobId) -> Result<bool, Error> {
        let mut connection = self.0.storage.read().await?;
        Ok(jobs::get(&mut connection, id).await?.is_some())
    }

    async fn find(&self, reference: &str) -> Result<Job, Error> {
        let mut connection = self.0.storage.read().await?;
        let job = jobs::find(&mut connection, reference).await?;
        job.ok_or_else(|| Error::NoSuchJob(reference.to_owned()))
    }

    /// Removes a job's folder; a failure is logged, and the folder is removed at the next start.
    async fn remove_folder(&self, id: JobId) {
        let folder = self.0.data_dir.job(id);
        let removed = blocking(move || fs::remove_dir_all(folder)).await;
        if let Err(error) = removed.or_else(ignore_missing) {
            tracing::warn!(job.id = %id, %error, "can't remove a job's folder");
        }
    }

    fn send_command(&self, id: JobId, command: Command) {
        if let Some(trainer) = self.running().get(&id) {
            // A trainer that has ended needs no command.
            let _ = trainer.send(command);
        }
        self.0.changed.send_replace(());
    }

    pub(super) fn notify_changed(&self) {
        self.0.changed.send_replace(());
        self.0.wake.notify_one();
    }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// `scratch-cnn-` and the last twelve digits of the id, which are random.
fn default_name(recipe: Recipe, id: JobId) -> Name {
    let id = id.to_string();
    let name = format!("{}-{}", recipe.as_str().replace('_', "-"), &id[id.len() - 12..]);
    match name.parse() {
        Ok(name) => name,
        Err(impossible) => unreachable!("a recipe and hex digits make a name: {impossible}"),
    }
}
