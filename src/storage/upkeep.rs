//! What is asked of a database as a whole: copies of it, and whether it is sound.
//!
//! Works on a database of any schema there has been, also beside the server that uses it, and
//! never migrates one.

use std::{collections::BTreeMap, path::Path, time::Duration};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions, types::Json};

use super::{Error, MIGRATIONS, Result, has_table, types::Time};
use crate::domain::{JobId, Name, Timestamp, dataset::Digest, job::JobStatus, parameters::Params};

/// Opens the database at `path`, which must be there.
///
/// # Errors
/// It can't be opened.
pub async fn open(path: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10));
    Ok(SqliteConnection::connect_with(&options).await?)
}

/// Ends a connection, and with the last one the write-ahead log.
///
/// # Errors
/// The log can't be written into the database.
pub async fn close(connection: SqliteConnection) -> Result<()> {
    Ok(connection.close().await?)
}

/// Copies the database as it is at this moment to the file `to`, which must not exist. Writers go
/// on meanwhile.
///
/// # Errors
/// The database is damaged, or the file can't be written.
pub async fn copy(connection: &mut SqliteConnection, to: &Path) -> Result<()> {
    let path = to
        .to_str()
        .ok_or_else(|| sqlx::Error::Configuration("the path is not UTF-8".to_owned().into()))?;
    sqlx::query("VACUUM INTO ?").bind(path).execute(connection).await?;
    Ok(())
}

/// Ends the attempts of trainers on other machines, in a copy of a database: they belong to the server
/// that it was copied from.
///
/// # Errors
/// The database failed.
pub async fn end_attempts(connection: &mut SqliteConnection) -> Result<()> {
    // Older versions had none.
    if has_table(connection, "attempts").await? {
        let now = Time(Timestamp::now());
        sqlx::query("UPDATE attempts SET ended_at = ? WHERE ended_at IS NULL")
            .bind(now)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Which migrations a database has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The newest that was applied.
    pub applied: i64,
    /// The newest that this program knows.
    pub known: i64,
    /// The first that failed half way, or that is not the one this program knows by that number.
    pub broken: Option<i64>,
}

/// Which migrations the database has had.
///
/// # Errors
/// It is no database of this program's, or can't be read.
pub async fn schema(connection: &mut SqliteConnection) -> Result<Schema> {
    let rows: Vec<(i64, bool, Vec<u8>)> =
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(connection)
            .await?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let is_broken = |(version, success, checksum): &&(i64, bool, Vec<u8>)| {
        let same = MIGRATIONS
            .iter()
            .find(|migration| migration.version == *version)
            .is_none_or(|migration| migration.checksum[..] == checksum[..]);
        !success || !same
    };
    Ok(Schema {
        applied: rows.last().map_or(0, |(version, ..)| *version),
        known,
        broken: rows.iter().find(is_broken).map(|(version, ..)| *version),
    })
}

/// Makes sure that this program can read the database, which is that of `path`.
///
/// # Errors
/// [`Error::Newer`], or as [`schema`].
pub async fn require_known(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let schema = schema(connection).await?;
    if schema.applied > schema.known {
        return Err(Error::Newer { path: path.display().to_string(), version: schema.applied });
    }
    Ok(())
}

/// What SQLite finds wrong with the file, at most a hundred sentences; none where it is sound.
///
/// # Errors
/// The file is no database, or too damaged to be looked through.
pub async fn integrity(connection: &mut SqliteConnection) -> Result<Vec<String>> {
    let mut said: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(connection).await?;
    said.retain(|line| line != "ok");
    Ok(said)
}

/// Makes all indexes anew from the tables.
///
/// # Errors
/// The tables are damaged as well.
pub async fn reindex(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("REINDEX").execute(connection).await?;
    Ok(())
}

/// How many rows of which table refer to a row of which other one that is not there.
///
/// # Errors
/// The database can't be read.
pub async fn orphans(connection: &mut SqliteConnection) -> Result<BTreeMap<(String, String), u64>> {
    let rows: Vec<(String, Option<i64>, String, i64)> =
        sqlx::query_as("PRAGMA foreign_key_check").fetch_all(connection).await?;
    let mut orphans = BTreeMap::new();
    for (table, _, parent, _) in rows {
        *orphans.entry((table, parent)).or_insert(0) += 1;
    }
    Ok(orphans)
}

/// Clears each reference to a row that is not there which may be empty: what SQLite does when a
/// row is deleted. Rows that can't be without the other are left.
///
/// # Errors
/// The database can't be written.
pub async fn clear_references(connection: &mut SqliteConnection) -> Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query!(
        "UPDATE jobs SET dataset_id = NULL WHERE dataset_id NOT IN (SELECT id FROM datasets)"
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!("UPDATE models SET job_id = NULL WHERE job_id NOT IN (SELECT id FROM jobs)")
        .execute(&mut *transaction)
        .await?;
    sqlx::query!(
        "UPDATE serving SET pinned_model_id = NULL
         WHERE pinned_model_id NOT IN (SELECT id FROM models)"
    )
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// How many rows the main tables have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Datasets.
    pub datasets: u64,
    /// Images of all datasets.
    pub images: u64,
    /// Jobs.
    pub jobs: u64,
    /// Models, the one in the binary included.
    pub models: u64,
}

/// How many rows the main tables have.
///
/// # Errors
/// The database can't be read.
pub async fn totals(connection: &mut SqliteConnection) -> Result<Totals> {
    let row = sqlx::query!(
        r#"SELECT (SELECT COUNT(*) FROM datasets) AS "datasets!: i64",
                  (SELECT COUNT(*) FROM images) AS "images!: i64",
                  (SELECT COUNT(*) FROM jobs) AS "jobs!: i64",
                  (SELECT COUNT(*) FROM models) AS "models!: i64""#
    )
    .fetch_one(connection)
    .await?;
    Ok(Totals {
        datasets: row.datasets.cast_unsigned(),
        images: row.images.cast_unsigned(),
        jobs: row.jobs.cast_unsigned(),
        models: row.models.cast_unsigned(),
    })
}

/// A job, as far as the first schema already had it.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: Name,
    /// Its status.
    pub status: JobStatus,
    /// The version of its snapshot.
    pub dataset_version: Digest,
    /// Training parameters.
    pub params: Json<Params>,
}

/// All jobs, newest first.
///
/// # Errors
/// The database can't be read.
pub async fn jobs(connection: &mut SqliteConnection) -> Result<Vec<JobRow>> {
    Ok(sqlx::query_as!(
        JobRow,
        r#"SELECT id AS "id: JobId", name AS "name: Name", status AS "status: JobStatus",
                  dataset_version AS "dataset_version: Digest", params AS "params: Json<Params>"
           FROM jobs ORDER BY id DESC"#
    )
    .fetch_all(connection)
    .await?)
}

/// An image as its row has it, whether that makes sense or not.
#[derive(Debug, Clone)]
pub struct ImageRow {
    /// Its id.
    pub id: String,
    /// The hash of its bytes, as text.
    pub sha256: String,
    /// The name it came under.
    pub file_name: String,
    /// The name of its dataset, where that is there.
    pub dataset: Option<String>,
    /// Index of its class; `None` if it is unlabelled.
    pub label: Option<i64>,
    /// How many classes its dataset has, where that can be read.
    pub classes: Option<i64>,
}

/// The rows of all images, in the order of their hashes: those with a label, then those without.
///
/// # Errors
/// The database can't be read.
pub async fn images(connection: &mut SqliteConnection) -> Result<Vec<ImageRow>> {
    let mut rows = sqlx::query_as!(
        ImageRow,
        r#"SELECT images.id, sha256, file_name, datasets.name AS "dataset?", label AS "label?",
                  CASE WHEN json_valid(classes) THEN json_array_length(classes) END AS "classes?: i64"
           FROM images LEFT JOIN datasets ON datasets.id = dataset_id
           ORDER BY sha256, images.id"#
    )
    .fetch_all(&mut *connection)
    .await?;
    // The database may be one that no server of this version has opened.
    if has_table(connection, "unlabelled_images").await? {
        let unlabelled = sqlx::query_as!(
            ImageRow,
            r#"SELECT unlabelled_images.id, sha256, file_name, datasets.name AS "dataset?",
                      NULL AS "label?: i64", NULL AS "classes?: i64"
               FROM unlabelled_images LEFT JOIN datasets ON datasets.id = dataset_id
               ORDER BY sha256, unlabelled_images.id"#
        );
        rows.extend(unlabelled.fetch_all(connection).await?);
    }
    Ok(rows)
}
