//! Rows of API tokens.

use sqlx::{SqliteConnection, types::Json};

use super::{Result, name_taken, types::Time};
use crate::domain::{
    Name, Timestamp, TokenId,
    access::{ApiToken, Scope},
    dataset::Digest,
};

/// A token's row: what is known of it, and the hash of its secret.
#[derive(Debug, Clone)]
pub struct Row {
    /// The token, without its secret.
    pub token: ApiToken,
    /// SHA-256 of the secret.
    pub sha256: Digest,
}

struct Raw {
    id: TokenId,
    name: Name,
    sha256: Digest,
    scopes: Json<Vec<Scope>>,
    created_at: Time,
    last_used_at: Option<Time>,
}

impl From<Raw> for Row {
    fn from(raw: Raw) -> Self {
        let Raw { id, name, sha256, scopes, created_at, last_used_at } = raw;
        let token = ApiToken {
            id,
            name,
            scopes: scopes.0,
            created_at: created_at.0,
            last_used_at: last_used_at.map(|time| time.0),
        };
        Self { token, sha256 }
    }
}

/// Stores a token.
///
/// # Errors
/// [`super::Error::NameTaken`].
pub async fn insert(connection: &mut SqliteConnection, row: &Row) -> Result<()> {
    let Row { token, sha256 } = row;
    let ApiToken { id, name, scopes, created_at, .. } = token;
    let (scopes, created_at) = (Json(scopes), Time(*created_at));
    sqlx::query!(
        "INSERT INTO tokens (id, name, sha256, scopes, created_at) VALUES (?, ?, ?, ?, ?)",
        id,
        name,
        sha256,
        scopes,
        created_at
    )
    .execute(connection)
    .await
    .map_err(|error| name_taken(error, name))?;
    Ok(())
}

/// All tokens, oldest first.
///
/// # Errors
/// The database failed.
pub async fn all(connection: &mut SqliteConnection) -> Result<Vec<Row>> {
    let rows = sqlx::query_as!(
        Raw,
        r#"SELECT id AS "id: _", name AS "name: _", sha256 AS "sha256: _", scopes AS "scopes: _",
                  created_at AS "created_at: Time", last_used_at AS "last_used_at: Time"
           FROM tokens ORDER BY id"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Row::from).collect())
}

/// Notes that a token is used now.
///
/// # Errors
/// The database failed.
pub async fn used(connection: &mut SqliteConnection, id: TokenId, at: Timestamp) -> Result<()> {
    let at = Time(at);
    sqlx::query!("UPDATE tokens SET last_used_at = ? WHERE id = ?", at, id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes a token, if there is one of that id.
///
/// # Errors
/// The database failed.
pub async fn delete(connection: &mut SqliteConnection, id: TokenId) -> Result<()> {
    sqlx::query!("DELETE FROM tokens WHERE id = ?", id).execute(connection).await?;
    Ok(())
}
