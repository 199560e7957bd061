//! The history of the model in service and of the aliases.

use sqlx::{SqliteConnection, types::Json};

use super::{Page, Result, types::Time};
use crate::domain::{
    Name, Timestamp,
    model_history::{Actor, Change, Entry, Event, Target},
};

struct Row {
    id: i64,
    at: Time,
    event: Event,
    alias: Option<Name>,
    from_model: Option<Json<Target>>,
    to_model: Option<Json<Target>>,
    by: Json<Actor>,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            at: row.at.0,
            event: row.event,
            alias: row.alias,
            from: row.from_model.map(|Json(from)| from),
            to: row.to_model.map(|Json(to)| to),
            by: row.by.0,
        }
    }
}

/// Saves a change, and gives its number.
///
/// # Errors
/// The database failed.
pub async fn append(connection: &mut SqliteConnection, change: &Change) -> Result<i64> {
    let Change { event, alias, from, to, by } = change;
    let (at, event) = (Time(Timestamp::now()), event.as_str());
    let (from, to, by) = (from.as_ref().map(Json), to.as_ref().map(Json), Json(by));
    let done = sqlx::query!(
        "INSERT INTO model_history (at, event, alias, from_model, to_model, by) VALUES (?, ?, ?, ?, ?, ?)",
        at,
        event,
        alias,
        from,
        to,
        by
    )
    .execute(connection)
    .await?;
    Ok(done.last_insert_rowid())
}

/// The changes before the one of number `before`, newest first; of `alias` alone if one is named.
///
/// # Errors
/// The database failed.
pub async fn page(
    connection: &mut SqliteConnection,
    alias: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<Entry>> {
    let (before, one_more) = (before.unwrap_or(i64::MAX), limit + 1);
    let rows = match alias {
        None => {
            let query = sqlx::query_as!(
                Row,
                r#"SELECT id, at AS "at: Time", event AS "event: Event", alias AS "alias: Name",
                          from_model AS "from_model: Json<Target>",
                          to_model AS "to_model: Json<Target>", by AS "by: Json<Actor>"
                   FROM model_history WHERE id < ? ORDER BY id DESC LIMIT ?"#,
                before,
                one_more
            );
            query.fetch_all(connection).await?
        }
        Some(alias) => {
            let query = sqlx::query_as!(
                Row,
                r#"SELECT id, at AS "at: Time", event AS "event: Event", alias AS "alias: Name",
                          from_model AS "from_model: Json<Target>",
                          to_model AS "to_model: Json<Target>", by AS "by: Json<Actor>"
                   FROM model_history WHERE alias = ? AND id < ? ORDER BY id DESC LIMIT ?"#,
                alias,
                before,
                one_more
            );
            query.fetch_all(connection).await?
        }
    };
    let entries = rows.into_iter().map(Entry::from).collect();
    Ok(Page::new(entries, limit, |entry: &Entry| entry.id.to_string()))
}

/// The last change of an alias, or of the model in service.
///
/// # Errors
/// The database failed.
pub async fn last(
    connection: &mut SqliteConnection,
    alias: Option<&Name>,
) -> Result<Option<Entry>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, at AS "at: Time", event AS "event: Event", alias AS "alias: Name",
                  from_model AS "from_model: Json<Target>", to_model AS "to_model: Json<Target>",
                  by AS "by: Json<Actor>"
           FROM model_history WHERE alias IS ? ORDER BY id DESC LIMIT 1"#,
        alias
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Entry::from))
}
