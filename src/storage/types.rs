//! The types of the domain in SQLite: as text, parsed when they are read.

use std::{fmt, str::FromStr};

use sqlx::{
    Decode, Encode, Sqlite, Type,
    encode::IsNull,
    error::BoxDynError,
    sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef},
};

use crate::domain::{
    AttemptId, ClassName, DatasetId, DeliveryId, ImageId, JobId, ModelId, Name, PredictionId,
    Timestamp, TokenId, WebhookId,
    dataset::{Digest, Split},
    job::JobStatus,
    model_history::Event,
    placement::ExecutorKind,
    recipe::Recipe,
    webhook::{self, DeliveryStatus},
};

/// A timestamp in the format of its column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Always nine digits of a second, so that text sorts as time does.
        write!(f, "{:.9}", self.0)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse().map(Self)
    }
}

macro_rules! as_text {
    ($($name:ty),* $(,)?) => {$(
        impl Type<Sqlite> for $name {
            fn type_info() -> SqliteTypeInfo {
                <str as Type<Sqlite>>::type_info()
            }

            fn compatible(ty: &SqliteTypeInfo) -> bool {
                <str as Type<Sqlite>>::compatible(ty)
            }
        }

        impl Encode<'_, Sqlite> for $name {
            fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
                Encode::<Sqlite>::encode(self.to_string(), buffer)
            }
        }

        impl<'r> Decode<'r, Sqlite> for $name {
            fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
                Ok(Self::from_str(<&str as Decode<'r, Sqlite>>::decode(value)?)?)
            }
        }
    )*};
}

as_text!(
    Time,
    AttemptId,
    ClassName,
    DatasetId,
    ImageId,
    JobId,
    ModelId,
    PredictionId,
    TokenId,
    Name,
    Digest,
    Split,
    JobStatus,
    Event,
    ExecutorKind,
    Recipe,
    WebhookId,
    DeliveryId,
    DeliveryStatus,
    webhook::Event
);
