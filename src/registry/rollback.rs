//! Taking back the last change of the model in service or of an alias. That is a change too, and can be
//! taken back.

use super::{Error, Registry, changes::target};
use crate::{
    domain::{
        Name,
        model_history::{Actor, Change, Entry, Event},
    },
    storage::{model_history, models},
};

impl Registry {
    /// Puts the model back in service that was before the last change, and pins it if it was pinned. If
    /// it was not, automatic selection serves it from now on, and no longer the model that it takes the
    /// place of, unless this takes back the rollback to that one.
    ///
    /// # Errors
    /// There is no model to go back to, or it can't be used; then nothing changes.
    pub async fn roll_back(&self, by: Actor) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        let last = self.last_change(None).await?;
        let from = self.serving().await?;
        let previous = last.as_ref().and_then(|last| last.from.clone());
        let to = previous.ok_or_else(|| {
            Error::NoPrevious("there was no other model in service before this one".to_owned())
        })?;
        let engine = match self.find(&to.id.to_string()).await {
            Ok(model) => self.load_unless_served(model.id).await?,
            Err(Error::NoSuchModel(_)) => {
                let why = format!("`{}`, which was in service before, has been deleted", to.name);
                return Err(Error::NoPrevious(why));
            }
            Err(error) => return Err(error),
        };
        let mut transaction = self.0.storage.write().await?;
        models::pin(&mut transaction, to.pinned.then_some(to.id)).await?;
        if !to.pinned {
            if let Some(from) = from.as_ref().filter(|from| !from.pinned) {
                models::deselect(&mut transaction, from.id, to.id).await?;
            }
            models::decide(&mut transaction, to.id, true).await?;
        }
        let to = Some(target(engine.card(), to.pinned));
        let change = Change { event: Event::RolledBack, alias: None, from, to, by };
        self.commit(transaction, Some(&change)).await?;
        self.serve(engine);
        Ok(())
    }

    /// Sets an alias back to what it was before its last change; removes it if it was not set.
    ///
    /// # Errors
    /// The alias has never been changed, or its model has been deleted; then nothing changes.
    pub async fn roll_back_alias(&self, alias: &Name, by: Actor) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        let Some(last) = self.last_change(Some(alias)).await? else {
            return Err(Error::NoSuchAlias(alias.clone()));
        };
        if let Some(to) = &last.from {
            match self.engine(Some(&to.id.to_string())).await {
                Ok(_) => {}
                Err(Error::NoSuchModel(_)) => {
                    let why = format!(
                        "`{}`, which `{alias}` was set to before, has been deleted",
                        to.name
                    );
                    return Err(Error::NoPrevious(why));
                }
                Err(error) => return Err(error),
            }
        }
        let from = self.alias_target(alias).await?;
        self.change_alias(Event::RolledBack, alias, from, last.from, by).await
    }

    async fn last_change(&self, alias: Option<&Name>) -> Result<Option<Entry>, Error> {
        let mut connection = self.0.storage.read().await?;
        Ok(model_history::last(&mut connection, alias).await?)
    }
}
