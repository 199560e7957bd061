//! The one way in which the model in service and the aliases change: each change is saved together with
//! its row of the history, and then announced.

use sqlx::{Sqlite, Transaction};
use tokio::sync::watch;

use super::Registry;
use crate::{
    domain::{
        model::ModelCard,
        model_history::{Change, Target},
    },
    storage::{self, model_history, models, webhooks},
};

impl Registry {
    /// Commits a transaction, with the row of the change that it makes, if any.
    pub(super) async fn commit(
        &self,
        mut transaction: Transaction<'static, Sqlite>,
        change: Option<&Change>,
    ) -> Result<(), storage::Error> {
        let saved = match change {
            Some(change) => Some(save(&mut transaction, change).await?),
            None => None,
        };
        transaction.commit().await?;
        if let (Some(id), Some(Change { event, alias, from, to, by })) = (saved, change) {
            tracing::info!(
                change.id = id,
                event = event.as_str(),
                alias = alias.as_deref(),
                from = from.as_ref().map(|from| &*from.name),
                to = to.as_ref().map(|to| &*to.name),
                ?by,
                "the model in service or an alias changed"
            );
            self.0.changes.send_replace(id);
        }
        Ok(())
    }

    /// The number of the last row of the history that was added since the start, 0 for none: changes
    /// when the model in service or an alias does.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.0.changes.subscribe()
    }

    /// The model in service, and whether it is pinned.
    pub(super) async fn serving(&self) -> Result<Option<Target>, storage::Error> {
        let Some(engine) = self.engine_in_service() else { return Ok(None) };
        let mut connection = self.0.storage.read().await?;
        // The pinned one may not be the one in service, if it can't be loaded.
        let pinned = models::pinned(&mut connection).await? == Some(engine.card().id);
        Ok(Some(target(engine.card(), pinned)))
    }
}

/// Saves the row of a change, and what webhooks are told of it; gives its number.
pub(super) async fn save(
    transaction: &mut Transaction<'static, Sqlite>,
    change: &Change,
) -> storage::Result<i64> {
    tell(transaction, change).await?;
    model_history::append(transaction, change).await
}

/// Tells the webhooks that another model goes into service, if it does, or that an alias changes.
async fn tell(
    transaction: &mut Transaction<'static, Sqlite>,
    change: &Change,
) -> storage::Result<()> {
    match change {
        Change { alias: Some(alias), from, to, .. } => {
            webhooks::alias_changed(transaction, alias, from.as_ref(), to.as_ref()).await
        }
        Change { alias: None, from, to: Some(to), .. } => {
            let from = from.as_ref().map(|from| from.id);
            webhooks::model_in_service(transaction, from, to.id).await
        }
        Change { alias: None, to: None, .. } => Ok(()),
    }
}

/// The model of a card, in service or behind an alias.
pub(super) fn target(card: &ModelCard, pinned: bool) -> Target {
    Target { id: card.id, name: card.name.clone(), pinned }
}
