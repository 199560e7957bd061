//! What people say about a prediction: the class that its image has.

use super::{Error, Journal};
use crate::{
    domain::{Name, PredictionId, Timestamp, dataset::Classes, logged::LoggedPrediction},
    storage::{self, prediction_pages, predictions},
};

/// Classes that an error names.
const NAMED: usize = 20;

impl Journal {
    /// Notes that the image of a prediction is of the class `label`, in place of what was said before; `by`
    /// is the name of the API token. Durable when this returns.
    ///
    /// # Errors
    /// There is no such prediction, or `label` is not a class of its model.
    pub async fn give_feedback(
        &self,
        id: PredictionId,
        label: &str,
        by: Option<&Name>,
    ) -> Result<LoggedPrediction, Error> {
        self.set(id, Some(label), by).await
    }

    /// Takes back what was said about a prediction.
    ///
    /// # Errors
    /// There is no such prediction.
    pub async fn withdraw_feedback(&self, id: PredictionId) -> Result<LoggedPrediction, Error> {
        self.set(id, None, None).await
    }

    async fn set(
        &self,
        id: PredictionId,
        label: Option<&str>,
        by: Option<&Name>,
    ) -> Result<LoggedPrediction, Error> {
        // The prediction may still be queued.
        let flushed = self.flush().await;
        let mut transaction = self.0.storage.write().await?;
        let Some(classes) = prediction_pages::classes(&mut transaction, id).await? else {
            return Err(flushed.err().unwrap_or(Error::NoPrediction(id)));
        };
        let class = match label {
            Some(label) => Some(class(&classes, label)?),
            None => None,
        };
        let now = Timestamp::now();
        predictions::set_feedback(&mut transaction, id, class, by, now).await?;
        let changed = prediction_pages::find(&mut transaction, id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        changed.ok_or(Error::NoPrediction(id))
    }
}

fn class<'a>(classes: &'a Classes, label: &str) -> Result<&'a crate::domain::ClassName, Error> {
    let found = classes.index_of(label).and_then(|index| classes.name(index));
    found.ok_or_else(|| {
        let names = classes.names();
        let mut listed =
            names.iter().take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if names.len() > NAMED {
            listed.push_str(&format!(" and {} more", names.len() - NAMED));
        }
        Error::UnknownLabel { label: label.to_owned(), classes: listed }
    })
}
