//! Models, and which of them is in service.

use sqlx::{SqliteConnection, types::Json};

use super::{Page, Result, aliases, name_taken, types::Time};
use crate::domain::{
    JobId, ModelId, Name,
    dataset::{Classes, Digest},
    model::{Model, ModelCard},
    recipe::Recipe,
    selective::AnswerThresholds,
};

/// Saves a model whose file is in its place; the same model again replaces it.
///
/// # Errors
/// Its name is taken.
pub async fn insert(connection: &mut SqliteConnection, card: &ModelCard, bytes: u64) -> Result<()> {
    let (architecture, classes) = (card.architecture.as_str(), Json(&card.classes));
    let test_accuracy = card.test.map(|score| score.accuracy);
    let (parameters, bytes) = (card.parameters.cast_signed(), bytes.cast_signed());
    let created_at = Time(card.created_at);
    let AnswerThresholds { answer_above, unlike_above } = card.thresholds;
    sqlx::query!(
        "INSERT INTO models (id, name, recipe, architecture, classes, job_id, dataset, dataset_version,
                             val_loss, val_accuracy, test_accuracy, parameters, bytes, created_at,
                             answer_above, unlike_above)
         VALUES (?, ?, ?, ?, ?, (SELECT id FROM jobs WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET test_accuracy = excluded.test_accuracy, bytes = excluded.bytes,
                                         created_at = excluded.created_at",
        card.id,
        card.name,
        card.recipe,
        architecture,
        classes,
        card.job_id,
        card.dataset,
        card.dataset_version,
        card.validation.loss,
        card.validation.accuracy,
        test_accuracy,
        parameters,
        bytes,
        created_at,
        answer_above,
        unlike_above,
    )
    .execute(connection)
    .await
    .map_err(|error| name_taken(error, &card.name))?;
    Ok(())
}

struct Row {
    id: ModelId,
    name: Name,
    recipe: Recipe,
    architecture: String,
    classes: Json<Classes>,
    job_id: Option<JobId>,
    dataset: Name,
    dataset_version: Digest,
    val_loss: f64,
    val_accuracy: f64,
    test_accuracy: Option<f64>,
    parameters: i64,
    bytes: i64,
    created_at: Time,
    answer_above: Option<f64>,
    unlike_above: Option<f64>,
}

impl Row {
    fn into_model(self, in_service: Option<ModelId>) -> Model {
        Model {
            in_service: Some(self.id) == in_service,
            id: self.id,
            name: self.name,
            recipe: self.recipe,
            architecture: self.architecture,
            classes: self.classes.0,
            job_id: self.job_id,
            dataset: self.dataset,
            dataset_version: self.dataset_version,
            val_loss: self.val_loss,
            val_accuracy: self.val_accuracy,
            test_accuracy: self.test_accuracy,
            parameters: self.parameters.cast_unsigned(),
            bytes: self.bytes.cast_unsigned(),
            created_at: self.created_at.0,
            thresholds: AnswerThresholds {
                answer_above: self.answer_above,
                unlike_above: self.unlike_above,
            },
        }
    }
}

/// The models created before `before`, newest first; or the one with the name, alias or id
/// `reference`.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut SqliteConnection,
    reference: Option<&str>,
    before: Option<ModelId>,
    limit: u32,
    in_service: Option<ModelId>,
) -> Result<Page<Model>> {
    let one_more = limit + 1;
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: ModelId", name AS "name: Name", recipe AS "recipe: Recipe", architecture,
                  classes AS "classes: Json<Classes>", job_id AS "job_id: JobId", dataset AS "dataset: Name",
                  dataset_version AS "dataset_version: Digest", val_loss, val_accuracy, test_accuracy,
                  parameters, bytes, created_at AS "created_at: Time", answer_above, unlike_above
           FROM models
           WHERE (?1 IS NULL OR id = ?1 OR name = ?1
                  OR id = (SELECT model_id FROM aliases WHERE aliases.name = ?1))
             AND (?2 IS NULL OR id < ?2)
           ORDER BY id DESC
           LIMIT ?3"#,
        reference,
        before,
        one_more,
    )
    .fetch_all(connection)
    .await?;
    let models = rows.into_iter().map(|row| row.into_model(in_service)).collect();
    Ok(Page::new(models, limit, |model: &Model| model.id.to_string()))
}

/// All models, newest first, without their thresholds: also in a database of an older version.
///
/// # Errors
/// The database failed.
pub async fn all(connection: &mut SqliteConnection) -> Result<Vec<Model>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: ModelId", name AS "name: Name", recipe AS "recipe: Recipe", architecture,
                  classes AS "classes: Json<Classes>", job_id AS "job_id: JobId", dataset AS "dataset: Name",
                  dataset_version AS "dataset_version: Digest", val_loss, val_accuracy, test_accuracy,
                  parameters, bytes, created_at AS "created_at: Time",
                  NULL AS "answer_above?: f64", NULL AS "unlike_above?: f64"
           FROM models ORDER BY id DESC"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_model(None)).collect())
}

/// The model of that name, alias or id.
///
/// # Errors
/// The database failed.
pub async fn find(
    connection: &mut SqliteConnection,
    reference: &str,
    in_service: Option<ModelId>,
) -> Result<Option<Model>> {
    Ok(list(connection, Some(reference), None, 1, in_service).await?.items.pop())
}

/// The models that automatic selection may serve, the best first: those it has selected, the last
/// one first, so that the one that a deleted model had replaced follows it. Models that it has
/// decided against are not among them.
///
/// Then those that nothing was decided on, because they are older than such decisions: the highest
/// validation accuracy, then the lower validation loss, then the newer. Accuracies can be compared
/// only between models of the same dataset and the same classes, so those of the dataset and
/// classes of the newest of them come first. Last is the one named `last`, which was not trained on
/// this server.
///
/// # Errors
/// The database failed.
pub async fn best_first(connection: &mut SqliteConnection, last: &str) -> Result<Vec<ModelId>> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: ModelId" FROM models
           WHERE selected IS NULL OR selected > 0
           ORDER BY selected DESC NULLS LAST, name = ?1,
                    (dataset, classes) = (SELECT dataset, classes FROM models
                                          WHERE name <> ?1 AND selected IS NULL
                                          ORDER BY created_at DESC, id DESC LIMIT 1) DESC,
                    val_accuracy DESC, val_loss ASC, id DESC"#,
        last
    )
    .fetch_all(connection)
    .await?)
}

/// Saves whether automatic selection serves a model from now on, in the place of all others.
///
/// # Errors
/// The database failed.
pub async fn decide(connection: &mut SqliteConnection, id: ModelId, selected: bool) -> Result<()> {
    sqlx::query!(
        "UPDATE models
         SET selected = CASE WHEN ?1 THEN (SELECT coalesce(max(selected), 0) + 1 FROM models) ELSE 0 END
         WHERE id = ?2",
        selected,
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Cuts a model off from the job that its card names, unless that job made it: the card of a model of
/// another server is what somebody has written.
///
/// # Errors
/// The database failed.
pub async fn disown(connection: &mut SqliteConnection, id: ModelId) -> Result<()> {
    sqlx::query!(
        "UPDATE models SET job_id = NULL
         WHERE id = ?1
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = models.job_id AND model_id = ?1)",
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Automatic selection serves a model no more that it has selected, in favour of another, unless that one
/// was itself deselected before. One that nothing was decided on, as the built-in one, stays what is served if
/// there is no other.
///
/// # Errors
/// The database failed.
pub async fn deselect(
    connection: &mut SqliteConnection,
    id: ModelId,
    in_favour_of: ModelId,
) -> Result<()> {
    sqlx::query!(
        "UPDATE models SET selected = 0
         WHERE id = ?1 AND selected > 0 AND (SELECT selected FROM models WHERE id = ?2) IS NOT 0",
        id,
        in_favour_of
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets when a model is unsure.
///
/// # Errors
/// The database failed.
pub async fn set_thresholds(
    connection: &mut SqliteConnection,
    id: ModelId,
    thresholds: AnswerThresholds,
) -> Result<()> {
    let AnswerThresholds { answer_above, unlike_above } = thresholds;
    sqlx::query!(
        "UPDATE models SET answer_above = ?, unlike_above = ? WHERE id = ?",
        answer_above,
        unlike_above,
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The ids of all models.
///
/// # Errors
/// The database failed.
pub async fn ids(connection: &mut SqliteConnection) -> Result<Vec<ModelId>> {
    Ok(sqlx::query_scalar!(r#"SELECT id AS "id: ModelId" FROM models"#)
        .fetch_all(connection)
        .await?)
}

/// The pinned model, if any.
///
/// # Errors
/// The database failed.
pub async fn pinned(connection: &mut SqliteConnection) -> Result<Option<ModelId>> {
    Ok(sqlx::query_scalar!(r#"SELECT pinned_model_id AS "id: ModelId" FROM serving"#)
        .fetch_one(connection)
        .await?)
}

/// Pins a model, or none for automatic selection.
///
/// # Errors
/// The database failed.
pub async fn pin(connection: &mut SqliteConnection, id: Option<ModelId>) -> Result<()> {
    sqlx::query!("UPDATE serving SET pinned_model_id = ?", id).execute(connection).await?;
    Ok(())
}

/// Deletes a model; returns whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(connection: &mut SqliteConnection, id: ModelId) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM models WHERE id = ?", id).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Whether a job or a model has that name, or an alias.
///
/// # Errors
/// The database failed.
pub async fn name_is_taken(connection: &mut SqliteConnection, name: &Name) -> Result<bool> {
    let is_alias = aliases::model(connection, name).await?.is_some();
    Ok(is_alias || is_job_or_model(connection, name).await?)
}

/// Whether a job or a model has that name.
///
/// # Errors
/// The database failed.
pub async fn is_job_or_model(connection: &mut SqliteConnection, name: &Name) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM jobs WHERE name = ?1 UNION ALL SELECT 1 FROM models WHERE name = ?1)
           AS "taken!: bool""#,
        name
    )
    .fetch_one(connection)
    .await?)
}
