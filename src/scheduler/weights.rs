//! What a job needs of other jobs and of pretrained weights, copied to its folder before its
//! trainer starts: a job takes a snapshot of its initial weights.

use std::{fs, io, path::Path, path::PathBuf};

use tokio::sync::mpsc;

use super::{
    Error, Scheduler,
    blocking::blocking,
    outcome::{RequestedExit, TrainerExit, record_command},
};
use crate::{
    domain::{
        JobId,
        base::Base,
        dataset::Digest,
        excerpt::Excerpt,
        job::{JobError, Phase, Progress},
        recipe::Recipe,
    },
    pretrained::State,
    storage::{self, job_events, jobs},
    training::{control::Command, failure::Failure, spec::HEAD},
};

/// The job that provides the head, and what to copy to the folder of the job that uses it.
pub(super) struct InitialHead {
    pub(super) job: JobId,
    pub(super) files: Vec<(PathBuf, String)>,
}

impl Scheduler {
    /// Ensures that a job that builds on a base network has its weights if they are not embedded in
    /// the binary, downloading them if the server has none.
    pub(super) async fn ensure_weights(
        &self,
        id: JobId,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        requested_exit: &mut RequestedExit,
    ) -> Result<(), TrainerExit> {
        let Some(base) = self.published_base(id).await else { return Ok(()) };
        let destination = self.0.data_dir.job(id).join(base.weights_file());
        if destination.exists() {
            return Ok(());
        }
        if let Some(command) = self.requested(id).await {
            early_exit(command, requested_exit)?;
        }
        tokio::select! {
            available = self.wait_for_weights(id) => {
                available.map_err(|why| TrainerExit::Failed(weights_unavailable(why)))?;
            }
            command = next_early_exit(commands, requested_exit) => return Err(command),
            () = self.0.shutdown.cancelled() => {
                *requested_exit = RequestedExit::Suspend;
                return Err(TrainerExit::Suspended);
            }
        }
        let weights = self.0.pretrained.file();
        blocking(move || link(&weights, &destination)).await.map_err(|error| {
            let Failure { code, detail } = Failure::io(&self.0.data_dir.job(id), &error);
            TrainerExit::Failed(JobError { code: code.to_owned(), detail })
        })
    }

    /// The base network of a job whose weights it needs from the server. A trainer reports what is
    /// missing if the database fails.
    async fn published_base(&self, id: JobId) -> Option<&'static Base> {
        let mut connection = self.0.storage.read().await.ok()?;
        let job = jobs::get(&mut connection, id).await.ok()??;
        job.recipe.base().filter(|base| base.shipped().is_none())
    }

    /// Waits until the server has the weights; otherwise returns why it can't get them.
    async fn wait_for_weights(&self, id: JobId) -> Result<(), Option<JobError>> {
        let mut changes = self.0.pretrained.request();
        loop {
            let status = changes.borrow_and_update().clone();
            match status.state {
                State::Shipped | State::Ready => return Ok(()),
                State::Absent => return Err(status.error),
                State::Downloading => {
                    let bytes = status.downloaded_bytes.unwrap_or(0);
                    self.report_download(id, bytes, status.total_bytes).await;
                }
            }
            if changes.changed().await.is_err() {
                return Err(None);
            }
        }
    }

    async fn report_download(&self, id: JobId, bytes: u64, total: Option<u64>) {
        let write = async {
            let mut transaction = self.0.storage.write().await?;
            let Some(job) = jobs::get(&mut transaction, id).await? else { return Ok(()) };
            let progress = Progress {
                phase: Phase::Downloading,
                epoch: 0,
                epochs: job.params.epochs,
                step: bytes,
                steps: total.unwrap_or(bytes),
                eta_seconds: None,
            };
            job_events::progress(&mut transaction, id, progress).await?;
            Ok::<_, storage::Error>(transaction.commit().await?)
        };
        // The next one follows soon.
        drop(write.await);
        self.0.changed.send_replace(());
    }

    /// The head of the job of that name or id, if fine-tuning `base` on this version of a dataset may
    /// start from it. Published weights below it come from that job as well.
    ///
    /// # Errors
    /// Unknown job; or it has another recipe or dataset, has not succeeded, or its model is
    /// missing.
    pub(super) async fn find_head(
        &self,
        reference: &str,
        base: &Base,
        version: &Digest,
    ) -> Result<InitialHead, Error> {
        let mut connection = self.0.storage.read().await?;
        let job = jobs::find(&mut connection, reference).await?;
        let job =
            job.ok_or_else(|| Error::Head(format!("there is no job `{}`", Excerpt(reference))))?;
        let refuse = |why: &str| Err(Error::Head(format!("job `{}` {why}", job.name)));
        if !matches!(job.recipe, Recipe::Features(of) if of == base) {
            return refuse(&format!("does not use the recipe {}", base.names.features));
        }
        if job.dataset_version != *version {
            return refuse(
                "was trained on another dataset version; its head may have seen this job's validation images",
            );
        }
        let Some(model) = job.model_id else { return refuse("has no model") };
        let mut files = vec![(self.0.data_dir.model(model), HEAD.to_owned())];
        if base.shipped().is_none() {
            let file = base.weights_file();
            files.push((self.0.data_dir.job(job.id).join(&file), file));
        }
        if files.iter().any(|(file, _)| !file.exists()) {
            return refuse("is missing its model or base weights");
        }
        Ok(InitialHead { job: job.id, files })
    }
}

/// How a job ends before its trainer has started.
fn early_exit(command: Command, requested_exit: &mut RequestedExit) -> Result<(), TrainerExit> {
    record_command(requested_exit, command);
    match command {
        Command::Cancel => Err(TrainerExit::Cancelled),
        Command::Suspend => Err(TrainerExit::Suspended),
        Command::Stop => {
            let Failure { code, detail } = Failure::nothing_to_keep();
            Err(TrainerExit::Failed(JobError { code: code.to_owned(), detail }))
        }
    }
}

async fn next_early_exit(
    commands: &mut mpsc::UnboundedReceiver<Command>,
    requested_exit: &mut RequestedExit,
) -> TrainerExit {
    match commands.recv().await.map(|command| early_exit(command, requested_exit)) {
        Some(Err(exit)) => exit,
        _ => std::future::pending().await,
    }
}

fn weights_unavailable(why: Option<JobError>) -> JobError {
    let error = why.map_or_else(|| "the download was interrupted".to_owned(), |why| why.detail);
    JobError {
        code: "weights_unavailable".to_owned(),
        detail: format!(
            "the VGG16 weights are missing and could not be downloaded ({error}); upload a file with `pawprint weights import FILE` (PUT /weights/vgg16) or retry with `pawprint weights fetch`, then resume the job"
        ),
    }
}

/// Links the file `from` as `to`, without a copy if the file system can.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(_) => copy(from, to)?,
        Ok(()) => {}
    }
    to.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

/// Copies a file so that `to` is complete or does not exist.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut copy = tempfile::NamedTempFile::new_in(folder)?;
    io::copy(&mut fs::File::open(from)?, &mut copy)?;
    copy.as_file().sync_all()?;
    copy.persist(to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_the_place_of_a_link_whole() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::write(&from, [7; 100_000]).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), [7; 100_000]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
        assert!(copy(&folder.path().join("missing"), &folder.path().join("none")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nor where it fails");
    }
}
