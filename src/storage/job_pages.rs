//! Pages of the list of jobs: none looks at rows that it does not return, unless it is of one recipe, so that they
//! take as long with any number of jobs.

use sqlx::SqliteConnection;

use super::{Page, Result, jobs::of_ids};
use crate::domain::{
    DatasetId, JobId,
    job::{Job, JobStatus},
    recipe::Recipe,
};

/// The filter of a list of jobs.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of this status.
    pub status: Option<JobStatus>,
    /// Those of this recipe.
    pub recipe: Option<Recipe>,
    /// Those that train on the dataset of this name or id.
    pub dataset: Option<String>,
    /// Those created before this one.
    pub before: Option<JobId>,
}

/// The jobs that `filter` lets through, newest first.
///
/// # Errors
/// The database failed.
pub async fn page(
    connection: &mut SqliteConnection,
    filter: &Filter,
    limit: u32,
) -> Result<Page<Job>> {
    let ids = ids(connection, filter, limit + 1).await?;
    let page = Page::new(ids, limit, JobId::to_string);
    Ok(Page { items: of_ids(connection, &page.items).await?, next_cursor: page.next_cursor })
}

/// The ids of the first `limit` jobs that `filter` lets through, newest first. One query for each of the
/// indexes, in which they are side by side.
async fn ids(
    connection: &mut SqliteConnection,
    Filter { status, recipe, dataset, before }: &Filter,
    limit: u32,
) -> Result<Vec<JobId>> {
    // It sorts after all ids.
    let before = before.map_or_else(|| "~".to_owned(), |id| id.to_string());
    // A name can't have the format of an id.
    let dataset_id = dataset.as_ref().and_then(|dataset| dataset.parse::<DatasetId>().ok());
    let ids = match (status, dataset, dataset_id) {
        (Some(status), ..) => {
            let query = sqlx::query_scalar!(
                r#"SELECT id AS "id: JobId" FROM jobs
                   WHERE status = ?1 AND id < ?2 AND (?3 IS NULL OR recipe = ?3)
                     AND (?4 IS NULL OR dataset = ?4 OR dataset_id = ?5)
                   ORDER BY id DESC LIMIT ?6"#,
                status,
                before,
                recipe,
                dataset,
                dataset_id,
                limit
            );
            query.fetch_all(connection).await?
        }
        (None, _, Some(dataset_id)) => {
            let query = sqlx::query_scalar!(
                r#"SELECT id AS "id: JobId" FROM jobs
                   WHERE dataset_id = ?1 AND id < ?2 AND (?3 IS NULL OR recipe = ?3)
                   ORDER BY id DESC LIMIT ?4"#,
                dataset_id,
                before,
                recipe,
                limit
            );
            query.fetch_all(connection).await?
        }
        (None, Some(dataset), None) => {
            let query = sqlx::query_scalar!(
                r#"SELECT id AS "id: JobId" FROM jobs
                   WHERE dataset = ?1 AND id < ?2 AND (?3 IS NULL OR recipe = ?3)
                   ORDER BY id DESC LIMIT ?4"#,
                dataset,
                before,
                recipe,
                limit
            );
            query.fetch_all(connection).await?
        }
        (None, None, None) => {
            let query = sqlx::query_scalar!(
                r#"SELECT id AS "id: JobId" FROM jobs
                   WHERE id < ?1 AND (?2 IS NULL OR recipe = ?2)
                   ORDER BY id DESC LIMIT ?3"#,
                before,
                recipe,
                limit
            );
            query.fetch_all(connection).await?
        }
    };
    Ok(ids)
}
