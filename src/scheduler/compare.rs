//! Once a job has trained, and before its outcome is saved: evaluates the model that its own would
//! replace on the job's images, in a process as the trainer's.

use std::{fs, io, path::Path};

use tokio::sync::mpsc;

use super::{
    Scheduler,
    blocking::blocking,
    outcome::{MAX_ATTEMPTS, RequestedExit, TrainerExit},
};
use crate::{
    data_dir::DataDir,
    domain::{
        ImageId, JobId, ModelId,
        evaluation::Evaluation,
        model::Model,
        service::{Comparison, Score},
    },
    error_chain::chain,
    model_file,
    registry::admission::NewModel,
    training::{
        control::Command,
        finish::{EVALUATION, MODEL},
        spec,
    },
};

impl Scheduler {
    /// Compares the model that a trainer has just written, if it needs to be.
    pub(super) async fn compare(
        &self,
        id: JobId,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        requested_exit: &mut RequestedExit,
    ) -> TrainerExit {
        let rival = match self.rival(id).await {
            Ok(Some(rival)) => rival,
            Ok(None) => return TrainerExit::Finished(None),
            Err(error) => {
                // Whatever is wrong is reported when the model is registered.
                tracing::warn!(job.id = %id, error, "can't read the model to compare");
                return TrainerExit::Finished(None);
            }
        };
        for _ in 1..MAX_ATTEMPTS {
            let ended = self.train(id, Some(rival.id), commands, requested_exit).await;
            let is_lost = matches!(ended, TrainerExit::Died(_));
            // A node may be lost; here, a process that died would die again.
            if !(is_lost && *requested_exit == RequestedExit::None && self.0.executor.is_remote()) {
                return exit(rival.id, ended, *requested_exit);
            }
        }
        let ended = self.train(id, Some(rival.id), commands, requested_exit).await;
        exit(rival.id, ended, *requested_exit)
    }

    async fn rival(&self, id: JobId) -> Result<Option<Model>, String> {
        let data_dir = self.0.data_dir.clone();
        let new = blocking(move || read_model(&data_dir, id)).await;
        let new = new.map_err(|error| error.to_string())?;
        self.0.registry.rival(&new).await.map_err(|error| chain(&error))
    }
}

/// How a job ends whose comparison with the model `rival` has ended so. If it failed, the job did not.
pub(super) fn exit(
    rival: ModelId,
    ended: TrainerExit,
    requested_exit: RequestedExit,
) -> TrainerExit {
    let why = match ended {
        TrainerExit::Failed(error) => error.detail,
        TrainerExit::Died(error) if requested_exit == RequestedExit::None => error.detail,
        exit => return exit,
    };
    tracing::warn!(model.id = %rival, why, "can't compare a new model");
    TrainerExit::Finished(Some(Comparison { model: rival, result: Err(why) }))
}

/// The model of a job, from its folder, or from its place if it has been moved there.
pub(super) fn read_model(data_dir: &DataDir, id: JobId) -> io::Result<NewModel> {
    let folder = data_dir.job(id);
    let spec = spec::Spec::load(&folder)?;
    let (written, placed) = (folder.join(MODEL), data_dir.model(spec.model_id));
    let path = if written.exists() { written } else { placed };
    let card = model_file::load_card(&path).map_err(io::Error::other)?;
    // A trainer on another machine may send whatever it wants: it must not be another job's model.
    let is_its_own = card.id == spec.model_id
        && card.job_id == spec.job_id
        && card.name == spec.name
        && card.recipe == spec.recipe
        && card.classes == spec.classes
        && card.dataset_version == spec.dataset_version;
    if !is_its_own {
        return Err(io::Error::other("the model is not that of the job"));
    }
    let score = Score::new(&card, &spec::read_manifest(&folder)?);
    let misclassified = card.test.and_then(|_| misclassified(&folder));
    Ok(NewModel { card, bytes: fs::metadata(&path)?.len(), score, misclassified })
}

/// The test images that the model of the job in `folder` misclassifies, from its evaluation.
fn misclassified(folder: &Path) -> Option<Vec<ImageId>> {
    let read = || -> io::Result<Evaluation> {
        Ok(serde_json::from_slice(&fs::read(folder.join(EVALUATION))?)?)
    };
    let evaluation = read().inspect_err(|error| {
        tracing::warn!(folder = %folder.display(), %error, "can't read a job's evaluation");
    });
    Some(evaluation.ok()?.misclassified.iter().map(|wrong| wrong.image_id).collect())
}
