//! Identifiers: UUIDv7, one type per kind of thing, so that a job's id can't name a model.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta] $name:ident),* $(,)?) => {$(
        #[$doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id; later ids sort after earlier ones.
            #[expect(clippy::new_without_default, reason = "each call makes another id")]
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    )*};
}

id! {
    /// Id of a dataset.
    DatasetId,
    /// Id of an image in a dataset.
    ImageId,
    /// Id of a training job.
    JobId,
    /// Id of a model.
    ModelId,
    /// Id of an attempt at a job by a trainer on another machine.
    AttemptId,
    /// Id of a prediction in the log.
    PredictionId,
    /// Id of an API token.
    TokenId,
    /// Id of a webhook.
    WebhookId,
    /// Id of a delivery to a webhook.
    DeliveryId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let id = JobId::new();
        assert_eq!(id.to_string().parse::<JobId>().ok(), Some(id));
        assert_eq!(id.to_string().len(), 36);
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let first = JobId::new();
        let second = JobId::new();
        assert!(first < second && first.to_string() < second.to_string());
    }
}
