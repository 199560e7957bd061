//! Which model is put in service: at the start, and when somebody pins one or follows the best again.

use std::sync::Arc;

use super::{Error, Registry, changes::target, embedded};
use crate::{
    domain::model_history::{Actor, Change, Event},
    inference::Engine,
    storage::{model_history, models},
};

impl Registry {
    /// Puts the pinned model in service, or the best that can be used, when the server starts. If none
    /// can, the current one stays.
    ///
    /// # Errors
    /// The pinned model can't be used, or the database failed.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        let (pinned, last) = {
            let mut connection = self.0.storage.read().await?;
            (
                models::pinned(&mut connection).await?,
                model_history::last(&mut connection, None).await?,
            )
        };
        let chosen = match pinned {
            Some(id) => match self.load_unless_served(id).await {
                Ok(engine) => Some(engine),
                // Another model is better than none.
                Err(Error::Unusable(error)) if self.in_service().is_none() => {
                    tracing::error!(model.id = %id, %error, "can't load the pinned model; using the best model");
                    self.best_usable().await?
                }
                Err(error) => return Err(error),
            },
            None => self.best_usable().await?,
        };
        let Some(engine) = chosen else { return Ok(()) };
        let now = target(engine.card(), pinned == Some(engine.card().id));
        let from = last.and_then(|last| last.to);
        self.serve(engine);
        if from.as_ref() == Some(&now) {
            return Ok(());
        }
        let event = if now.pinned { Event::Pinned } else { Event::Selected };
        let change = Change { event, alias: None, from, to: Some(now), by: Actor::Server };
        Ok(self.commit(self.0.storage.write().await?, Some(&change)).await?)
    }

    /// The best model that can be loaded, if any.
    async fn best_usable(&self) -> Result<Option<Arc<Engine>>, Error> {
        let best_first = {
            let mut connection = self.0.storage.read().await?;
            models::best_first(&mut connection, embedded::NAME).await?
        };
        for id in best_first {
            match self.load_unless_served(id).await {
                Err(Error::Unusable(error)) => {
                    tracing::warn!(model.id = %id, %error, "skipping a model that can't be loaded");
                }
                other => return other.map(Some),
            }
        }
        Ok(None)
    }

    /// Pins a model.
    ///
    /// # Errors
    /// Unknown model, or one that can't be used; then nothing changes.
    pub async fn pin(&self, reference: &str, by: Actor) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        let model = self.find(reference).await?;
        let engine = self.load_unless_served(model.id).await?;
        let to = target(engine.card(), true);
        let from = self.serving().await?;
        let changed = from.as_ref() != Some(&to);
        let change = Change { event: Event::Pinned, alias: None, from, to: Some(to), by };
        let mut transaction = self.0.storage.write().await?;
        models::pin(&mut transaction, Some(model.id)).await?;
        self.commit(transaction, changed.then_some(&change)).await?;
        self.serve(engine);
        Ok(())
    }

    /// Selects the best model automatically again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn follow_best(&self, by: Actor) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        let from = self.serving().await?;
        let engine = self.best_usable().await?.or_else(|| self.engine_in_service());
        let to = engine.as_ref().map(|engine| target(engine.card(), false));
        let changed = from != to;
        let change = Change { event: Event::Unpinned, alias: None, from, to, by };
        let mut transaction = self.0.storage.write().await?;
        models::pin(&mut transaction, None).await?;
        self.commit(transaction, changed.then_some(&change)).await?;
        if let Some(engine) = engine {
            self.serve(engine);
        }
        Ok(())
    }
}
