//! Decides whether the model of a job goes into service; the rule itself is `domain::service`.

use super::{Registry, changes::target, embedded};
use crate::{
    domain::{
        ImageId, ModelId,
        model::{Model, ModelCard},
        model_history::{Actor, Change, Event},
        service::{Comparison, Rival, Score, Service},
    },
    error_chain::chain,
    storage::{self, job_events, jobs, models},
};

/// A model that a job has trained; its file is in its place.
#[derive(Debug, Clone)]
pub struct NewModel {
    /// Its card.
    pub card: ModelCard,
    /// Size of its file.
    pub bytes: u64,
    /// Its accuracy on the images of its job.
    pub score: Score,
    /// The test images of its job that it misclassifies; `None` if it was not evaluated on any.
    pub misclassified: Option<Vec<ImageId>>,
}

/// The result of admitting a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is decided, now or before.
    Decided,
    /// It has to be compared with another model first: another one is in service now.
    Outdated,
}

impl Registry {
    /// The model that `new` must be compared with before it is admitted, if any: the one that it
    /// would replace, if both have the same classes and `new` beats guessing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rival(&self, new: &NewModel) -> Result<Option<Model>, storage::Error> {
        if !new.score.beats_guessing() || self.is_decided(new).await? {
            return Ok(None);
        }
        let best = self.best_but(new.card.id).await?;
        Ok(best.filter(|best| best.classes.has_names_of(&new.card.classes)))
    }

    /// Adds the model of a job, decides whether it goes into service, and puts it there: before the
    /// job is shown as succeeded. A decision that was made before a restart is kept.
    ///
    /// # Errors
    /// The database failed; then nothing has changed.
    pub async fn admit(
        &self,
        new: &NewModel,
        comparison: Option<&Comparison>,
    ) -> Result<Admission, storage::Error> {
        let _guard = self.0.selection_lock.lock().await;
        if self.is_decided(new).await? {
            return Ok(Admission::Decided);
        }
        let id = new.card.id;
        let rival = match (self.rival(new).await?, comparison) {
            (None, _) => {
                let best = self.best_but(id).await?;
                best.map_or(Rival::None, |best| Rival::OtherClasses(best.name))
            }
            (Some(rival), Some(comparison)) if rival.id == comparison.model => {
                Rival::Compared(rival.name, comparison.clone())
            }
            (Some(_), _) => return Ok(Admission::Outdated),
        };
        let pinned = self.pinned().await?;
        let pinned = pinned.as_ref().map(|pinned| &pinned.name);
        let (mut service, mut selected) = Service::decide(
            self.0.promotion,
            new.score,
            new.misclassified.as_deref(),
            rival,
            pinned,
        );
        let mut engine = None;
        if selected && pinned.is_none() {
            match self.load(id).await {
                Ok(loaded) => engine = Some(loaded),
                Err(error) => (service, selected) = (service.unusable(&chain(&error)), false),
            }
        }
        let change = match &engine {
            Some(engine) => Some(Change {
                event: Event::Selected,
                alias: None,
                from: self.serving().await?,
                to: Some(target(engine.card(), false)),
                by: Actor::Job { id: new.card.job_id, name: new.card.name.clone() },
            }),
            None => None,
        };
        let mut transaction = self.0.storage.write().await?;
        models::insert(&mut transaction, &new.card, new.bytes).await?;
        models::decide(&mut transaction, id, selected).await?;
        job_events::model(&mut transaction, new.card.job_id, id, &service).await?;
        self.commit(transaction, change.as_ref()).await?;
        tracing::info!(
            model.id = %id, model.name = %new.card.name, decision = ?service.decision,
            reason = service.reason, "decided on a new model"
        );
        if let Some(engine) = engine {
            self.serve(engine);
        }
        Ok(Admission::Decided)
    }

    /// Whether the job's model is known and decided on.
    async fn is_decided(&self, new: &NewModel) -> Result<bool, storage::Error> {
        let mut connection = self.0.storage.read().await?;
        let model = models::find(&mut connection, &new.card.id.to_string(), None).await?;
        let job = jobs::get(&mut connection, new.card.job_id).await?;
        Ok(model.is_some() && job.is_some_and(|job| job.service.is_some()))
    }

    /// The model that automatic selection serves, or would without `other`.
    async fn best_but(&self, other: ModelId) -> Result<Option<Model>, storage::Error> {
        let mut connection = self.0.storage.read().await?;
        let is_pinned = models::pinned(&mut connection).await?.is_some();
        // The one in service can be loaded; the first in rank may not.
        let serving = self.in_service().filter(|_| !is_pinned);
        let ranked = models::best_first(&mut connection, embedded::NAME).await?;
        match serving.into_iter().chain(ranked).find(|id| *id != other) {
            Some(id) => models::find(&mut connection, &id.to_string(), None).await,
            None => Ok(None),
        }
    }

    /// The pinned model, if any.
    pub(super) async fn pinned(&self) -> Result<Option<Model>, storage::Error> {
        let mut connection = self.0.storage.read().await?;
        match models::pinned(&mut connection).await? {
            Some(id) => models::find(&mut connection, &id.to_string(), None).await,
            None => Ok(None),
        }
    }
}
