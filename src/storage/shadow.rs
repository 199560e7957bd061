//! The shadow, its totals, and its last differences from the model in service.

use sqlx::SqliteConnection;

use super::{Page, Result, types::Time};
use crate::domain::{
    ClassName, ModelId, Name, Timestamp,
    dataset::Digest,
    shadow::{Difference, MAX_DIFFERENCES, Shadow, Totals},
};

/// The shadow, if there is one; whether it runs is not known here.
///
/// # Errors
/// The database failed.
pub async fn get(connection: &mut SqliteConnection) -> Result<Option<Shadow>> {
    let row = sqlx::query!(
        r#"SELECT model_id AS "model_id: ModelId", models.name AS "name: Name", cpu_fraction,
                  started_at AS "started_at: Time", images, agreed, failed, dropped, cpu_seconds
           FROM shadow JOIN models ON models.id = model_id"#
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Shadow {
        model_id: row.model_id,
        model: row.name,
        cpu_fraction: row.cpu_fraction,
        started_at: row.started_at.0,
        totals: Totals {
            images: row.images.cast_unsigned(),
            agreed: row.agreed.cast_unsigned(),
            failed: row.failed.cast_unsigned(),
            dropped: row.dropped.cast_unsigned(),
            cpu_seconds: row.cpu_seconds,
        },
        agreement: (row.images > 0).then(|| row.agreed as f64 / row.images as f64),
        error: None,
    }))
}

/// Sets the shadow. Totals and differences begin anew, unless it is the same model.
///
/// # Errors
/// The database failed.
pub async fn set(
    connection: &mut SqliteConnection,
    model: ModelId,
    cpu_fraction: f64,
) -> Result<()> {
    let known = get(&mut *connection).await?.is_some_and(|known| known.model_id == model);
    if known {
        sqlx::query!("UPDATE shadow SET cpu_fraction = ?", cpu_fraction)
            .execute(connection)
            .await?;
        return Ok(());
    }
    remove(&mut *connection).await?;
    let now = Time(Timestamp::now());
    sqlx::query!(
        "INSERT INTO shadow (id, model_id, cpu_fraction, started_at) VALUES (1, ?, ?, ?)",
        model,
        cpu_fraction,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the shadow and its differences.
///
/// # Errors
/// The database failed.
pub async fn remove(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query!("DELETE FROM shadow").execute(&mut *connection).await?;
    sqlx::query!("DELETE FROM shadow_differences").execute(connection).await?;
    Ok(())
}

/// Adds to the totals of the shadow, and the images for which it differed, whose numbers are given here;
/// returns whether that model still is the shadow.
///
/// # Errors
/// The database failed.
pub async fn add(
    connection: &mut SqliteConnection,
    model: ModelId,
    totals: Totals,
    differences: &[Difference],
) -> Result<bool> {
    let [images, agreed, failed, dropped] =
        [totals.images, totals.agreed, totals.failed, totals.dropped].map(u64::cast_signed);
    let done = sqlx::query!(
        "UPDATE shadow SET images = images + ?, agreed = agreed + ?, failed = failed + ?,
                           dropped = dropped + ?, cpu_seconds = cpu_seconds + ?
         WHERE model_id = ?",
        images,
        agreed,
        failed,
        dropped,
        totals.cpu_seconds,
        model
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    for difference in differences {
        let Difference { at, sha256, model_id, model, label, .. } = difference;
        let at = Time(*at);
        sqlx::query!(
            "INSERT INTO shadow_differences (at, sha256, model_id, model, label, probability,
                                             shadow_label, shadow_probability)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            at,
            sha256,
            model_id,
            model,
            label,
            difference.probability,
            difference.shadow_label,
            difference.shadow_probability
        )
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query!(
        "DELETE FROM shadow_differences WHERE id <= (SELECT max(id) FROM shadow_differences) - ?",
        MAX_DIFFERENCES
    )
    .execute(connection)
    .await?;
    Ok(true)
}

/// The differences before the one of number `before`, newest first.
///
/// # Errors
/// The database failed.
pub async fn differences(
    connection: &mut SqliteConnection,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<Difference>> {
    let (before, one_more) = (before.unwrap_or(i64::MAX), limit + 1);
    let rows = sqlx::query!(
        r#"SELECT id, at AS "at: Time", sha256 AS "sha256: Digest", model_id AS "model_id: ModelId",
                  model AS "model: Name", label AS "label: ClassName", probability,
                  shadow_label AS "shadow_label: ClassName", shadow_probability
           FROM shadow_differences WHERE id < ? ORDER BY id DESC LIMIT ?"#,
        before,
        one_more
    )
    .fetch_all(connection)
    .await?;
    let differences = rows.into_iter().map(|row| Difference {
        id: row.id,
        at: row.at.0,
        sha256: row.sha256,
        model_id: row.model_id,
        model: row.model,
        label: row.label,
        probability: row.probability,
        shadow_label: row.shadow_label,
        shadow_probability: row.shadow_probability,
    });
    Ok(Page::new(differences.collect(), limit, |it: &Difference| it.id.to_string()))
}
