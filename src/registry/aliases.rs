//! Aliases: names that are moved from one model to another.

use super::{Error, Registry, changes::target, embedded};
use crate::{
    domain::{
        ModelId, Name,
        model_history::{Actor, Change, Event, Target},
    },
    storage::{
        self,
        aliases::{self, Alias},
        models,
    },
};

impl Registry {
    /// The aliases, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn aliases(&self) -> Result<Vec<Alias>, storage::Error> {
        aliases::all(&mut *self.0.storage.read().await?).await
    }

    /// Sets an alias to a model, for the requests from now on. The model is loaded first.
    ///
    /// # Errors
    /// Unknown model, one that can't be used, or a name that a model or a job has; then nothing
    /// changes.
    pub async fn set_alias(&self, alias: &Name, model: &str, by: Actor) -> Result<Alias, Error> {
        let _guard = self.0.selection_lock.lock().await;
        let engine = self.engine(Some(model)).await?;
        let to = target(engine.card(), false);
        let from = self.alias_target(alias).await?;
        self.change_alias(Event::AliasSet, alias, from, Some(to), by).await?;
        let all = self.aliases().await?;
        let set = all.into_iter().find(|it| it.name == *alias);
        set.ok_or_else(|| Error::NoSuchAlias(alias.clone()))
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn remove_alias(&self, alias: &Name, by: Actor) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        match self.alias_target(alias).await? {
            None => Err(Error::NoSuchAlias(alias.clone())),
            from => self.change_alias(Event::AliasRemoved, alias, from, None, by).await,
        }
    }

    /// Sets or removes an alias; what stays as it is gets no row in the history.
    pub(super) async fn change_alias(
        &self,
        event: Event,
        alias: &Name,
        from: Option<Target>,
        to: Option<Target>,
        by: Actor,
    ) -> Result<(), Error> {
        if from == to {
            return Ok(());
        }
        let mut transaction = self.0.storage.write().await?;
        match &to {
            Some(to) => {
                let is_taken = alias.is_route()
                    || &**alias == embedded::NAME
                    || models::is_job_or_model(&mut transaction, alias).await?;
                if is_taken {
                    return Err(Error::NotAnAlias(alias.clone()));
                }
                aliases::put(&mut transaction, alias, to.id).await?;
            }
            None => aliases::delete(&mut transaction, alias).await?,
        }
        let change = Change { event, alias: Some(alias.clone()), from, to, by };
        Ok(self.commit(transaction, Some(&change)).await?)
    }

    /// The model that an alias points to.
    pub(super) async fn alias_target(&self, alias: &Name) -> Result<Option<Target>, Error> {
        let model = {
            let mut connection = self.0.storage.read().await?;
            aliases::model(&mut connection, alias).await?
        };
        match model {
            Some(id) => Ok(Some(self.target(id).await?)),
            None => Ok(None),
        }
    }

    /// The model of that id, not pinned.
    async fn target(&self, id: ModelId) -> Result<Target, Error> {
        let model = self.find(&id.to_string()).await?;
        Ok(Target { id: model.id, name: model.name, pinned: false })
    }
}
