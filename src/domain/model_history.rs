//! Which model was in service, or behind an alias, when, and who changed that.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobId, ModelId, Name, Timestamp};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ModelHistoryEvent)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Automatic selection put a model in service.
    Selected,
    /// A model was pinned.
    Pinned,
    /// Automatic selection was resumed.
    Unpinned,
    /// The previous change was taken back.
    RolledBack,
    /// An alias was set to a model.
    AliasSet,
    /// An alias was removed.
    AliasRemoved,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 6] = [
        Self::Selected,
        Self::Pinned,
        Self::Unpinned,
        Self::RolledBack,
        Self::AliasSet,
        Self::AliasRemoved,
    ];

    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Selected => "selected",
            Self::Pinned => "pinned",
            Self::Unpinned => "unpinned",
            Self::RolledBack => "rolled_back",
            Self::AliasSet => "alias_set",
            Self::AliasRemoved => "alias_removed",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A string that names no event.
#[derive(Debug, thiserror::Error)]
#[error("unknown event of a model's history")]
pub struct UnknownEvent;

impl FromStr for Event {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        Self::ALL.into_iter().find(|event| event.as_str() == text).ok_or(UnknownEvent)
    }
}

/// Who changed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ModelHistoryActor)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// A job whose model went into service.
    Job {
        /// Id of the job.
        id: JobId,
        /// Name of the job.
        name: Name,
    },
    /// Whoever has a token that was created with `POST /tokens`.
    Token {
        /// Name of the token.
        name: Name,
    },
    /// Whoever has a token of the settings.
    Operator,
    /// Anyone: the server requires no token.
    Anonymous,
    /// The server, when it started.
    Server,
}

/// A model in service or behind an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ModelHistoryTarget)]
pub struct Target {
    /// Id of the model.
    pub id: ModelId,
    /// Name of the model.
    pub name: Name,
    /// Whether it was pinned; false for an alias.
    pub pinned: bool,
}

/// A change of the model in service or of an alias, before it is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub event: Event,
    /// The alias; `None` for the model in service.
    pub alias: Option<Name>,
    /// The model before, if any.
    pub from: Option<Target>,
    /// The model after, if any.
    pub to: Option<Target>,
    /// Who did it.
    pub by: Actor,
}

/// A change of the model in service or of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ModelHistoryEntry)]
pub struct Entry {
    /// Number: later changes have higher ones.
    pub id: i64,
    /// Time of the change.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// The alias; null for the model in service.
    pub alias: Option<Name>,
    /// The model before; null if there was none.
    pub from: Option<Target>,
    /// The model after; null if there is none.
    pub to: Option<Target>,
    /// Who did it.
    pub by: Actor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_called_the_same_everywhere() {
        for event in Event::ALL {
            assert_eq!(event.as_str().parse::<Event>().ok(), Some(event));
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
    }
}
