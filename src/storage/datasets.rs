//! Rows of datasets.

use std::collections::BTreeMap;

use sqlx::{SqliteConnection, types::Json};

use super::{Error, Page, Result, name_taken, types::Time};
use crate::domain::{
    ClassName, DatasetId, Name, Timestamp,
    dataset::{Classes, Counts, Digest, Split},
};

/// A dataset's own row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id.
    pub id: DatasetId,
    /// Its unique name.
    pub name: Name,
    /// Its classes.
    pub classes: Classes,
    /// Whether images that arrive make its classes.
    pub open: bool,
    /// Whether the names of its classes count in its version.
    pub named_version: bool,
    /// The version of its images; `None` if they changed since it was computed.
    pub version: Option<Digest>,
    /// How often its images and classes have changed.
    pub revision: i64,
    /// Creation time.
    pub created_at: Timestamp,
}

impl Row {
    /// The classes, if their names count in the version.
    #[must_use]
    pub fn names(&self) -> Option<&Classes> {
        self.named_version.then_some(&self.classes)
    }
}

struct Raw {
    id: DatasetId,
    name: Name,
    classes: Json<Vec<ClassName>>,
    open: bool,
    named_version: bool,
    version: Option<Digest>,
    revision: i64,
    created_at: Time,
}

impl TryFrom<Raw> for Row {
    type Error = Error;

    fn try_from(raw: Raw) -> Result<Self> {
        let classes = Classes::of_dataset(raw.classes.0);
        Ok(Self {
            id: raw.id,
            name: raw.name,
            classes: classes.map_err(|error| Error::Damaged(error.to_string()))?,
            open: raw.open,
            named_version: raw.named_version,
            version: raw.version,
            revision: raw.revision,
            created_at: raw.created_at.0,
        })
    }
}

/// Creates a dataset; `open` if images that arrive make its classes.
///
/// # Errors
/// [`Error::NameTaken`].
pub async fn insert(
    connection: &mut SqliteConnection,
    name: &Name,
    classes: &Classes,
    open: bool,
) -> Result<DatasetId> {
    let id = DatasetId::new();
    let (classes, created_at) = (Json(classes), Time(Timestamp::now()));
    sqlx::query!(
        "INSERT INTO datasets (id, name, classes, open, named_version, created_at)
         VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
        id,
        name,
        classes,
        open,
        created_at
    )
    .execute(connection)
    .await
    .map_err(|error| name_taken(error, name))?;
    Ok(id)
}

/// The dataset of that id or name.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut SqliteConnection, id_or_name: &str) -> Result<Option<Row>> {
    // A name can't have the format of an id.
    let id = id_or_name.parse::<DatasetId>().ok();
    let name = id.is_none().then_some(id_or_name);
    sqlx::query_as!(
        Raw,
        r#"SELECT id AS "id: _", name AS "name: _", classes AS "classes: _", open AS "open: _",
                  named_version AS "named_version: _", version AS "version: _", revision, created_at AS "created_at: Time"
           FROM datasets WHERE id = ? OR name = ?"#,
        id,
        name
    )
    .fetch_optional(connection)
    .await?
    .map(Row::try_from)
    .transpose()
}

/// Datasets, oldest first.
///
/// # Errors
/// The database failed.
pub async fn page(
    connection: &mut SqliteConnection,
    after: Option<DatasetId>,
    limit: u32,
) -> Result<Page<Row>> {
    let spare = i64::from(limit) + 1;
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows = sqlx::query_as!(
        Raw,
        r#"SELECT id AS "id: _", name AS "name: _", classes AS "classes: _", open AS "open: _",
                  named_version AS "named_version: _", version AS "version: _", revision, created_at AS "created_at: Time"
           FROM datasets WHERE id > ? ORDER BY id LIMIT ?"#,
        after,
        spare
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(Row::try_from).collect::<Result<Vec<_>>>()?;
    Ok(Page::new(rows, limit, |row| row.id.to_string()))
}

/// Images and bytes of a dataset, by split and class, zeros included.
///
/// # Errors
/// The database failed.
pub async fn counts(connection: &mut SqliteConnection, row: &Row) -> Result<(Counts, u64, u64)> {
    let groups = sqlx::query!(
        r#"SELECT split AS "split: Split", label AS "label: u32",
                  COUNT(*) AS "images!: u32", SUM(bytes) AS "bytes!: i64"
           FROM images WHERE dataset_id = ? GROUP BY split, label"#,
        row.id
    )
    .fetch_all(connection)
    .await?;
    let none: BTreeMap<ClassName, u64> =
        row.classes.names().iter().map(|name| (name.clone(), 0)).collect();
    let mut counts: Counts = Split::ALL.into_iter().map(|split| (split, none.clone())).collect();
    let (mut images, mut bytes) = (0, 0);
    for group in groups {
        let name = row.classes.name(group.label as usize);
        let count = name.and_then(|name| counts.get_mut(&group.split)?.get_mut(name));
        *count.ok_or_else(|| Error::Damaged(format!("a label {}", group.label)))? =
            u64::from(group.images);
        images += u64::from(group.images);
        bytes += u64::try_from(group.bytes).unwrap_or(0);
    }
    Ok((counts, images, bytes))
}

/// Stores the version that was computed of the images at `revision`, unless they have changed
/// since.
///
/// # Errors
/// The database failed.
pub async fn store_version(
    connection: &mut SqliteConnection,
    id: DatasetId,
    revision: i64,
    version: Digest,
) -> Result<()> {
    sqlx::query!(
        "UPDATE datasets SET version = ? WHERE id = ? AND revision = ?",
        version,
        id,
        revision
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Clears the version: an image was added, removed or changed.
///
/// # Errors
/// The database failed.
pub async fn clear_version(connection: &mut SqliteConnection, id: DatasetId) -> Result<()> {
    sqlx::query!("UPDATE datasets SET version = NULL, revision = revision + 1 WHERE id = ?", id)
        .execute(connection)
        .await?;
    Ok(())
}

/// The name of an unfinished job that uses the dataset.
///
/// # Errors
/// The database failed.
pub async fn active_job(
    connection: &mut SqliteConnection,
    id: DatasetId,
) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        "SELECT name FROM jobs WHERE dataset_id = ? AND status IN ('queued', 'running') LIMIT 1",
        id
    )
    .fetch_optional(connection)
    .await?)
}

/// Deletes a dataset with the rows of its images; returns whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(connection: &mut SqliteConnection, id: DatasetId) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM datasets WHERE id = ?", id).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}
