//! What an API token may be used for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Name, Timestamp, ids::TokenId};

/// A group of requests that a token allows. None includes another.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Predictions and their explanations
    Predict,
    /// Everything that can be read: datasets, images, jobs, models, metrics
    Read,
    /// Everything that changes something, except tokens
    Write,
}

impl Scope {
    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// A token that was created while the server runs, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiToken {
    /// Its id.
    pub id: TokenId,
    /// Its unique name, for example of the program that uses it.
    #[schema(value_type = String)]
    pub name: Name,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// Creation time.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last used, to the minute; null if never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}
