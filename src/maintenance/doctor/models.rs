//! Rows of models against their files, and the model in service.

use std::{io, path::Path};

use sqlx::SqliteConnection;

use super::{Code, Doctor, Severity};
use crate::{
    device::ComputeConfig,
    domain::model::Model,
    inference::network::LoadedModel,
    maintenance::{Error, cause},
    model_file,
    registry::embedded,
    storage::models,
    weights,
};

/// What is wrong with the file of a model.
enum Fault {
    Missing,
    Damaged(String),
    Unusable(String),
}

impl Doctor<'_> {
    pub(super) async fn check_models(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), Error> {
        let all = models::all(connection).await;
        let Some(all) = self.readable(all) else { return Ok(()) };
        let pinned = self.readable(models::pinned(connection).await).flatten();
        for model in all {
            let path = self.dir.model(model.id);
            let Some(fault) = fault(&model, &path) else { continue };
            // Beside a server: it may have been deleted since.
            if self.server_runs
                && models::ids(connection).await.is_ok_and(|ids| !ids.contains(&model.id))
            {
                continue;
            }
            self.note_model(&model, &path, fault)?;
            if pinned == Some(model.id) {
                let detail = format!(
                    "model {} is pinned and can't answer; the best model answers in its place",
                    model.name
                );
                let advice = "pin another one with `pawprint models use NAME`";
                self.found(Code::PinnedModel, detail, advice);
            }
        }
        Ok(())
    }

    fn note_model(&mut self, model: &Model, path: &Path, fault: Fault) -> Result<(), Error> {
        let is_embedded = &*model.name == embedded::NAME;
        let advice = if is_embedded {
            "the server writes it again when it starts"
        } else {
            "copy the file out of a backup, or delete the model with `pawprint models delete`"
        };
        let (name, file) = (&model.name, self.shown(path));
        let finding = match fault {
            Fault::Missing => {
                let detail = format!("model {name}: its file {file} is missing");
                self.found(Code::ModelMissing, detail, advice)
            }
            Fault::Damaged(reason) => {
                let done = self.set_aside(path)?;
                let detail = format!("model {name}: its file {file} is damaged: {reason}");
                let finding = self.found(Code::ModelDamaged, detail, advice);
                finding.done = done;
                finding
            }
            Fault::Unusable(reason) => {
                let detail = format!("model {name} can't be used: {reason}");
                self.found(Code::ModelUnusable, detail, advice)
            }
        };
        if is_embedded {
            finding.severity = Severity::Warning;
        }
        Ok(())
    }
}

/// What is wrong with the file of a model, down to what it says of the canary images.
fn fault(model: &Model, path: &Path) -> Option<Fault> {
    match model_file::load(path) {
        Err(weights::Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Some(Fault::Missing)
        }
        Err(error @ weights::Error::Format { .. }) => Some(Fault::Damaged(cause(&error))),
        Err(error) => Some(Fault::Unusable(cause(&error))),
        Ok((card, _)) if card.id != model.id => {
            Some(Fault::Unusable(format!("its file is that of model {} ({})", card.name, card.id)))
        }
        Ok((card, _)) if card.classes != model.classes => {
            Some(Fault::Unusable("its file has different classes than its row".to_owned()))
        }
        Ok(_) => LoadedModel::open(path, ComputeConfig::cpu())
            .err()
            .map(|error| Fault::Unusable(error.0)),
    }
}
