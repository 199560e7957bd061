//! The database itself: its file, its pages, its schema, its references.

use sqlx::SqliteConnection;

use super::{Code, Doctor};
use crate::{
    maintenance::{Error, cause},
    storage::upkeep,
};

const FROM_BACKUP: &str = "restore the last backup into another directory with `pawprint restore`; \
    without one, `sqlite3 pawprint.sqlite .recover` may save a part";

impl Doctor<'_> {
    /// Checks the database and gives a connection to it, where rows can be read.
    pub(super) async fn check_database(&mut self) -> Result<Option<SqliteConnection>, Error> {
        let path = self.dir.database();
        if !path.exists() {
            self.doubt = true;
            let detail = "the database, pawprint.sqlite, is missing";
            self.found(Code::DatabaseMissing, detail, FROM_BACKUP);
            return Ok(None);
        }
        let unreadable =
            |error: &crate::storage::Error| format!("the database can't be read: {}", cause(error));
        let mut connection = match upkeep::open(&path).await {
            Ok(connection) => connection,
            Err(error) => {
                self.found(Code::DatabaseUnreadable, unreadable(&error), FROM_BACKUP);
                return Ok(None);
            }
        };
        let schema = match upkeep::schema(&mut connection).await {
            Ok(schema) => schema,
            Err(error) => {
                self.found(Code::DatabaseUnreadable, unreadable(&error), FROM_BACKUP);
                return Ok(None);
            }
        };
        if schema.applied > schema.known {
            let detail = format!(
                "the database was made by a newer version of Pawprint (schema {}, this one knows {}); its rows were not checked",
                schema.applied, schema.known
            );
            self.found(Code::SchemaNewer, detail, "use that version");
            return Ok(None);
        }
        if let Some(version) = schema.broken {
            let detail =
                format!("migration {version} of the database did not complete, or was another");
            self.found(Code::SchemaBroken, detail, FROM_BACKUP);
        } else if schema.applied < schema.known {
            let detail = format!(
                "the database has schema {}, the newest is {}",
                schema.applied, schema.known
            );
            self.found(Code::SchemaOlder, detail, "the server updates it when it starts");
        }
        self.check_integrity(&mut connection).await?;
        self.check_references(&mut connection).await?;
        Ok(Some(connection))
    }

    async fn check_integrity(&mut self, connection: &mut SqliteConnection) -> Result<(), Error> {
        let problems = match upkeep::integrity(connection).await {
            Ok(problems) => problems,
            Err(error) => vec![cause(&error)],
        };
        let Some(first) = problems.first() else { return Ok(()) };
        let more = match problems.len() {
            1 => String::new(),
            many => format!(" (and {} more)", many - 1),
        };
        if problems.iter().all(|problem| is_of_index(problem)) {
            let detail = format!("an index of the database is damaged: {first}{more}");
            let is_rebuilt = self.repair
                && upkeep::reindex(connection).await.is_ok()
                && upkeep::integrity(connection).await.is_ok_and(|left| left.is_empty());
            let done = is_rebuilt.then(|| "the indexes were rebuilt from the tables".to_owned());
            self.index_damaged = done.is_none();
            self.doubt |= self.index_damaged;
            let advice = "rebuild it from its table with --repair; no row is lost";
            self.found(Code::IndexDamaged, detail, advice).repairable(done);
            return Ok(());
        }
        self.doubt = true;
        let detail = format!("the database is damaged: {first}{more}");
        self.found(Code::DatabaseDamaged, detail, FROM_BACKUP);
        Ok(())
    }

    async fn check_references(&mut self, connection: &mut SqliteConnection) -> Result<(), Error> {
        let Some(before) = self.readable(upkeep::orphans(connection).await) else { return Ok(()) };
        if before.is_empty() {
            return Ok(());
        }
        let after = if self.repair {
            upkeep::clear_references(connection).await?;
            upkeep::orphans(connection).await?
        } else {
            before.clone()
        };
        for ((table, parent), rows) in before {
            let detail = format!(
                "{rows} rows of the table {table} refer to rows of the table {parent} that do not exist"
            );
            let is_left = after.contains_key(&(table.clone(), parent));
            // The reference of these may be empty.
            if matches!(&*table, "jobs" | "models" | "serving") {
                let done = (!is_left).then(|| "the references were cleared".to_owned());
                let advice = "clear the references with --repair; the rows stay";
                self.found(Code::ReferenceBroken, detail, advice).repairable(done);
            } else {
                self.doubt = true;
                self.found(Code::ReferenceBroken, detail, FROM_BACKUP);
            }
        }
        Ok(())
    }
}

/// Whether a sentence of SQLite's integrity check is about an index alone.
fn is_of_index(problem: &str) -> bool {
    problem.contains(" missing from index ")
        || problem.starts_with("wrong # of entries in index ")
        || problem.starts_with("non-unique entry in index ")
        || problem.contains(" values differ from index ")
}

#[cfg(test)]
mod tests {
    use super::is_of_index;

    #[test]
    fn what_sqlite_says_of_an_index_is_told_from_what_it_says_of_a_table() {
        for problem in [
            "row 7 missing from index images_by_age",
            "wrong # of entries in index sqlite_autoindex_images_1",
            "non-unique entry in index sqlite_autoindex_images_2",
        ] {
            assert!(is_of_index(problem), "{problem}");
        }
        for problem in [
            "Tree 4 page 9: btreeInitPage() returns error code 11",
            "NULL value in images.sha256",
            "database disk image is malformed",
        ] {
            assert!(!is_of_index(problem), "{problem}");
        }
    }
}
