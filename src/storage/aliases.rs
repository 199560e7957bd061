//! Aliases of models.

use serde::Serialize;
use sqlx::SqliteConnection;
use utoipa::ToSchema;

use super::{Result, types::Time};
use crate::domain::{ModelId, Name, Timestamp};

/// Name that is moved from one model to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Alias {
    /// Name of the alias.
    pub name: Name,
    /// Id of the model.
    pub model_id: ModelId,
    /// Name of the model.
    pub model: Name,
    /// When it was set to this model.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// All aliases, by name.
///
/// # Errors
/// The database failed.
pub async fn all(connection: &mut SqliteConnection) -> Result<Vec<Alias>> {
    let rows = sqlx::query!(
        r#"SELECT aliases.name AS "name: Name", model_id AS "model_id: ModelId",
                  models.name AS "model: Name", updated_at AS "updated_at: Time"
           FROM aliases JOIN models ON models.id = model_id ORDER BY aliases.name"#
    )
    .fetch_all(connection)
    .await?;
    let alias = rows.into_iter().map(|row| Alias {
        name: row.name,
        model_id: row.model_id,
        model: row.model,
        updated_at: row.updated_at.0,
    });
    Ok(alias.collect())
}

/// The model that an alias points to.
///
/// # Errors
/// The database failed.
pub async fn model(connection: &mut SqliteConnection, alias: &Name) -> Result<Option<ModelId>> {
    Ok(sqlx::query_scalar!(
        r#"SELECT model_id AS "id: ModelId" FROM aliases WHERE name = ?"#,
        alias
    )
    .fetch_optional(connection)
    .await?)
}

/// The aliases of a model, by name.
///
/// # Errors
/// The database failed.
pub async fn of_model(connection: &mut SqliteConnection, model: ModelId) -> Result<Vec<Name>> {
    Ok(sqlx::query_scalar!(
        r#"SELECT name AS "name: Name" FROM aliases WHERE model_id = ? ORDER BY name"#,
        model
    )
    .fetch_all(connection)
    .await?)
}

/// Sets an alias to a model, which may be saved later in the transaction.
///
/// # Errors
/// The database failed.
pub async fn put(connection: &mut SqliteConnection, alias: &Name, model: ModelId) -> Result<()> {
    let now = Time(Timestamp::now());
    sqlx::query!(
        "INSERT INTO aliases (name, model_id, updated_at) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET model_id = excluded.model_id, updated_at = excluded.updated_at",
        alias,
        model,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes an alias, if there is one of that name.
///
/// # Errors
/// The database failed.
pub async fn delete(connection: &mut SqliteConnection, alias: &Name) -> Result<()> {
    sqlx::query!("DELETE FROM aliases WHERE name = ?", alias).execute(connection).await?;
    Ok(())
}
