//! How the types of the domain stand in SQLite: as text, parsed when they are read.

use std::str::FromStr;

use sqlx::{
    Decode, Encode, Sqlite, Type,
    encode::IsNull,
    error::BoxDynError,
    sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef},
};

use crate::domain::{
    DatasetId, ImageId, JobId, ModelId, Name,
    dataset::{Digest, Split},
    job::JobStatus,
    recipe::Recipe,
};

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

as_text!(DatasetId, ImageId, JobId, ModelId, Name, Digest, Split, JobStatus, Recipe);
