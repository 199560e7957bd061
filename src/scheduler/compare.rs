//! Once a job has trained, and before its outcome is saved: evaluates the model that its own would
//! replace on the job's images, in a process as the trainer's.

use std::{fs, io};

use tokio::sync::mpsc;

use super::{
    Scheduler,
    blocking::blocking,
    outcome::{RequestedExit, TrainerExit},
};
use crate::{
    data_dir::DataDir,
    domain::{
        JobId, ModelId,
        model::Model,
        service::{Comparison, Score},
    },
    error_chain::chain,
    model_file,
    registry::admission::NewModel,
    training::{control::Command, finish::MODEL, spec},
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
    let (written, placed) =
        (folder.join(MODEL), data_dir.model(spec::Spec::load(&folder)?.model_id));
    let path = if written.exists() { written } else { placed };
    let card = model_file::load_card(&path).map_err(io::Error::other)?;
    let score = Score::new(&card, &spec::read_manifest(&folder)?);
    Ok(NewModel { card, bytes: fs::metadata(&path)?.len(), score })
}
