//! The only SQL: one SQLite database in the data directory, a file per table family.
//!
//! The server is its only writer. Each query is checked against the migrations when the program is
//! compiled (`make sqlx` updates the files for that). Writers take a connection, so that the caller
//! owns the transaction; a transaction never spans more than one step of a job.

pub mod aliases;
pub mod attempts;
pub mod classes;
pub mod datasets;
pub mod evaluations;
pub mod finished_jobs;
pub mod image_pages;
pub mod images;
pub mod job_events;
pub mod job_pages;
pub mod jobs;
pub mod model_history;
pub mod models;
pub mod prediction_counts;
pub mod prediction_pages;
pub mod predictions;
pub mod reviews;
pub mod shadow;
pub mod statistics;
pub mod test_predictions;
pub mod tokens;
mod types;
pub mod unlabelled;
pub mod upkeep;
pub mod webhooks;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    Connection as _, Sqlite, SqlitePool, Transaction,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A newer program has migrated this database.
    #[error(
        "{path} was created by a newer version of Pawprint (schema {version}); use that version or another data directory"
    )]
    Newer {
        /// The database's file.
        path: String,
        /// Its newest migration.
        version: i64,
    },
    /// A name that must be unique is taken.
    #[error("the name `{0}` is taken")]
    NameTaken(String),
    /// A stored value that this program can't have written.
    #[error("invalid value in the database: {0}")]
    Damaged(String),
    /// The database file can't be read.
    #[error(
        "{path} is damaged or not an SQLite database; run `pawprint doctor`, or `pawprint restore` a backup"
    )]
    Unsound {
        /// The database's file.
        path: String,
        /// What was met.
        #[source]
        source: Box<Error>,
    },
    /// The migrations failed.
    #[error("can't migrate the database")]
    Migrate(#[source] MigrateError),
    /// The database returned an error.
    #[error(transparent)]
    Sqlite(#[from] sqlx::Error),
}

impl Error {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        // SQLITE_FULL is 13; SQLITE_IOERR_WRITE is 778, which a full disk sometimes gives under
        // WAL.
        matches!(self.code(), Some(13 | 778))
    }

    /// Whether the database's files can't be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        // SQLITE_READONLY, with a reason in the higher bits.
        self.code().is_some_and(|code| code & 0xff == 8)
    }

    /// Whether a part of the database is not what was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        // SQLITE_CORRUPT is 11, SQLITE_NOTADB 26. Since queries are checked against the schema at
        // compile time, a table that does not exist was lost.
        let is_lost = |error: &sqlx::Error| {
            error.as_database_error().is_some_and(|it| it.message().starts_with("no such "))
        };
        self.code().is_some_and(|code| matches!(code & 0xff, 11 | 26))
            || self.answer().is_some_and(is_lost)
            || matches!(self, Self::Damaged(_))
            || matches!(
                self.answer(),
                Some(sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))
            )
    }

    fn answer(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Sqlite(error)
            | Self::Migrate(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => Some(error),
            _ => None,
        }
    }

    /// SQLite's extended result code.
    fn code(&self) -> Option<u32> {
        self.answer()?.as_database_error()?.code()?.parse().ok()
    }
}

/// The migrations of the schema.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// The result of a query of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// Items of this page.
    pub items: Vec<T>,
    /// Cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of at most `limit` items out of `items`, which were queried with one extra.
    pub fn new(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next_cursor = more.then(|| items.last().map(&cursor)).flatten();
        Self { items, next_cursor }
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Storage {
    pool: SqlitePool,
    /// When it was last checked whether the database is writable, and the result.
    checked: Arc<Mutex<Option<(Instant, bool)>>>,
}

/// How long the result of a writability check is reused.
const CHECK_EVERY: Duration = Duration::from_secs(5);

impl Storage {
    /// Opens the database at `path`, creates it if it is missing, and migrates it.
    ///
    /// # Errors
    /// The database has a newer version, is damaged, or can't be opened.
    pub async fn open(path: &Path) -> Result<Self> {
        Self::try_open(path).await.map_err(|error| match error.is_damage() {
            true => Error::Unsound { path: path.display().to_string(), source: Box::new(error) },
            false => error,
        })
    }

    async fn try_open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged upload must survive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(8)
            // SQLite itself ends a transaction on a full disk; the pool takes it for open ever after,
            // and its connection would begin no other.
            .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            .connect_with(options)
            .await?;
        MIGRATIONS.run(&pool).await.map_err(|error| match error {
            MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
                Error::Newer { path: path.display().to_string(), version }
            }
            other => Error::Migrate(other),
        })?;
        Ok(Self { pool, checked: Arc::default() })
    }

    /// A connection to read with.
    ///
    /// # Errors
    /// None became free in time.
    pub async fn read(&self) -> Result<PoolConnection<Sqlite>> {
        Ok(self.pool.acquire().await?)
    }

    /// A read transaction: all of its queries see the database at one moment.
    ///
    /// # Errors
    /// No connection became free in time.
    pub async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.pool.begin().await?)
    }

    /// A write transaction. It takes the write lock at once: a transaction that began by reading
    /// could not wait for it.
    ///
    /// # Errors
    /// Another writer held the lock for ten seconds.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Whether the database is writable, as of at most five seconds ago: cheap, however often it is
    /// called.
    pub async fn is_writable(&self) -> bool {
        let mut checked = self.checked.lock().await;
        if let Some((at, is_writable)) = *checked
            && at.elapsed() < CHECK_EVERY
        {
            return is_writable;
        }
        let check = self.check().await;
        if let Err(error) = &check {
            tracing::warn!(
                error = crate::error_chain::chain(error),
                "the database is not writable"
            );
        }
        *checked = Some((Instant::now(), check.is_ok()));
        check.is_ok()
    }

    /// Makes a write that changes nothing.
    ///
    /// # Errors
    /// The database is not writable.
    pub async fn check(&self) -> Result<()> {
        let mut transaction = self.write().await?;
        sqlx::query!("UPDATE serving SET id = 1").execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Closes all connections, and with the last one the write-ahead log.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether the database has that table: one of an older version may not.
async fn has_table(connection: &mut sqlx::SqliteConnection, name: &str) -> Result<bool> {
    let exists = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?)";
    Ok(sqlx::query_scalar(exists).bind(name).fetch_one(connection).await?)
}

/// The error of an insert whose name may be taken.
fn name_taken(error: sqlx::Error, name: &str) -> Error {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => {
            Error::NameTaken(name.to_owned())
        }
        _ => error.into(),
    }
}
