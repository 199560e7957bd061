//! Webhooks, and what is to be sent to them: an outbox. What happens is written to it in the transaction in
//! which it happens, so that neither is there without the other.

use serde::Serialize;
use serde_json::json;
use sqlx::{SqliteConnection, types::Json};

use super::{Page, Result, jobs, models, types::Time};
use crate::domain::{
    DeliveryId, JobId, ModelId, Name, Timestamp, WebhookId,
    job::JobStatus,
    model_history::Target,
    webhook::{Attempt, Delivery, DeliveryStatus, Event, Webhook},
};

/// Deliveries of a webhook that are kept: so many that wait, and so many others; the newest.
const KEPT: u32 = 500;

/// A webhook with what signs its deliveries.
#[derive(Debug, Clone)]
pub struct Row {
    /// The webhook.
    pub webhook: Webhook,
    /// The key, as `whsec_…`.
    pub secret: String,
}

struct RawWebhook {
    id: WebhookId,
    url: String,
    events: Json<Vec<Event>>,
    secret: String,
    created_at: Time,
}

impl From<RawWebhook> for Row {
    fn from(RawWebhook { id, url, events, secret, created_at }: RawWebhook) -> Self {
        let webhook = Webhook { id, url, events: events.0, created_at: created_at.0 };
        Self { webhook, secret }
    }
}

/// Stores a webhook.
///
/// # Errors
/// The database failed.
pub async fn insert(connection: &mut SqliteConnection, row: &Row) -> Result<()> {
    let Row { webhook: Webhook { id, url, events, created_at }, secret } = row;
    let (events, created_at) = (Json(events), Time(*created_at));
    sqlx::query!(
        "INSERT INTO webhooks (id, url, events, secret, created_at) VALUES (?, ?, ?, ?, ?)",
        id,
        url,
        events,
        secret,
        created_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// All webhooks, oldest first.
///
/// # Errors
/// The database failed.
pub async fn all(connection: &mut SqliteConnection) -> Result<Vec<Row>> {
    let rows = sqlx::query_as!(
        RawWebhook,
        r#"SELECT id AS "id: _", url, events AS "events: _", secret, created_at AS "created_at: Time"
           FROM webhooks ORDER BY id"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Row::from).collect())
}

/// Deletes a webhook with its deliveries; returns whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(connection: &mut SqliteConnection, id: WebhookId) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM webhooks WHERE id = ?", id).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a job has ended, for the webhooks that are told of it.
///
/// # Errors
/// The database failed.
pub async fn job_ended(connection: &mut SqliteConnection, id: JobId) -> Result<()> {
    let Some(job) = jobs::get(connection, id).await? else { return Ok(()) };
    let event = match job.status {
        JobStatus::Succeeded => Event::JobSucceeded,
        JobStatus::Failed => Event::JobFailed,
        JobStatus::Cancelled => Event::JobCancelled,
        JobStatus::Interrupted => Event::JobInterrupted,
        JobStatus::Queued | JobStatus::Running => return Ok(()),
    };
    tell(connection, event, json!({ "job": job })).await
}

/// Notes that another model goes into service, for the webhooks that are told of it.
///
/// # Errors
/// The database failed.
pub async fn model_in_service(
    connection: &mut SqliteConnection,
    previous: Option<ModelId>,
    now: ModelId,
) -> Result<()> {
    if previous == Some(now) {
        return Ok(());
    }
    let model = models::find(connection, &now.to_string(), Some(now)).await?;
    let previous = match previous {
        Some(id) => models::find(connection, &id.to_string(), Some(now)).await?,
        None => None,
    };
    let previous = previous.map(|model| json!({ "id": model.id, "name": model.name }));
    let data = json!({ "model": model, "previous": previous });
    tell(connection, Event::ModelInService, data).await
}

/// Notes that an alias is set to another model, or removed, for the webhooks that are told of it.
///
/// # Errors
/// The database failed.
pub async fn alias_changed(
    connection: &mut SqliteConnection,
    alias: &Name,
    previous: Option<&Target>,
    now: Option<&Target>,
) -> Result<()> {
    let model = |target: &Target| json!({ "id": target.id, "name": target.name });
    let data = json!({ "alias": alias, "model": now.map(model), "previous": previous.map(model) });
    tell(connection, Event::AliasChanged, data).await
}

/// What is sent, as Standard Webhooks has it.
#[derive(Serialize)]
struct Message {
    #[serde(rename = "type")]
    event: Event,
    timestamp: Timestamp,
    data: serde_json::Value,
}

async fn tell(
    connection: &mut SqliteConnection,
    event: Event,
    data: serde_json::Value,
) -> Result<()> {
    let told: Vec<_> = all(connection).await?;
    let told: Vec<_> = told.iter().filter(|row| row.webhook.events.contains(&event)).collect();
    for row in told {
        enqueue(connection, row.webhook.id, event, data.clone()).await?;
    }
    Ok(())
}

/// Queues a delivery, to be sent at once. Of each webhook, the newest few hundred that wait are kept, and as many
/// of the others.
///
/// # Errors
/// The database failed.
pub async fn enqueue(
    connection: &mut SqliteConnection,
    webhook: WebhookId,
    event: Event,
    data: serde_json::Value,
) -> Result<DeliveryId> {
    let (id, timestamp) = (DeliveryId::new(), Timestamp::now());
    let body = Json(Message { event, timestamp, data });
    let now = Time(timestamp);
    sqlx::query!(
        "INSERT INTO webhook_deliveries (id, webhook_id, event, body, status, next_attempt_at, created_at)
         VALUES (?, ?, ?, ?, 'pending', ?, ?)",
        id,
        webhook,
        event,
        body,
        now,
        now
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM webhook_deliveries
         WHERE id IN (SELECT id FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY status = 'pending'
                                                                    ORDER BY id DESC) AS place
                                      FROM webhook_deliveries WHERE webhook_id = ?)
                      WHERE place > ?)",
        webhook,
        KEPT
    )
    .execute(connection)
    .await?;
    Ok(id)
}

/// A delivery that is to be sent now.
#[derive(Debug, Clone)]
pub struct Due {
    /// The delivery.
    pub id: DeliveryId,
    /// Its webhook.
    pub webhook: WebhookId,
    /// Where to send it.
    pub url: String,
    /// The key that signs it.
    pub secret: String,
    /// What to send.
    pub body: String,
    /// Attempts so far.
    pub attempts: u32,
}

/// Of each webhook the delivery that has been due longest, if any.
///
/// # Errors
/// The database failed.
pub async fn due(connection: &mut SqliteConnection, now: Timestamp) -> Result<Vec<Due>> {
    let now = Time(now);
    Ok(sqlx::query_as!(
        Due,
        r#"SELECT delivery.id AS "id: _", webhook_id AS "webhook: _", url, secret, body,
                  attempts AS "attempts: u32"
           FROM webhooks JOIN webhook_deliveries AS delivery ON delivery.id = (
               SELECT next.id FROM webhook_deliveries AS next
               WHERE next.webhook_id = webhooks.id AND next.status = 'pending'
                 AND next.next_attempt_at <= ?
               ORDER BY next.next_attempt_at LIMIT 1)
           ORDER BY next_attempt_at"#,
        now
    )
    .fetch_all(connection)
    .await?)
}

/// The delivery of that id, to be sent now, whatever its status.
///
/// # Errors
/// The database failed.
pub async fn get_due(connection: &mut SqliteConnection, id: DeliveryId) -> Result<Option<Due>> {
    Ok(sqlx::query_as!(
        Due,
        r#"SELECT delivery.id AS "id: _", webhook_id AS "webhook: _", url, secret, body,
                  attempts AS "attempts: u32"
           FROM webhook_deliveries AS delivery JOIN webhooks ON webhooks.id = webhook_id
           WHERE delivery.id = ?"#,
        id
    )
    .fetch_optional(connection)
    .await?)
}

/// When the next delivery is due; `None` if none is pending.
///
/// # Errors
/// The database failed.
pub async fn next_due(connection: &mut SqliteConnection) -> Result<Option<Timestamp>> {
    let next = sqlx::query_scalar!(
        r#"SELECT MIN((SELECT next_attempt_at FROM webhook_deliveries AS next
                       WHERE next.webhook_id = webhooks.id AND next.status = 'pending'
                       ORDER BY next.next_attempt_at LIMIT 1)) AS "at: Time"
           FROM webhooks"#
    )
    .fetch_one(connection)
    .await?;
    Ok(next.map(|time| time.0))
}

/// Notes the `number`-th attempt at a delivery, and what comes of it.
///
/// # Errors
/// The database failed.
pub async fn attempted(
    connection: &mut SqliteConnection,
    id: DeliveryId,
    number: u32,
    attempt: &Attempt,
    status: DeliveryStatus,
    next: Option<Timestamp>,
) -> Result<()> {
    let Attempt { at, response_status, seconds, error } = attempt;
    let (at, next) = (Time(*at), next.map(Time));
    sqlx::query!(
        "UPDATE webhook_deliveries
         SET status = ?, attempts = ?, next_attempt_at = ?, last_attempt_at = ?,
             response_status = ?, seconds = ?, error = ?
         WHERE id = ?",
        status,
        number,
        next,
        at,
        response_status,
        seconds,
        error,
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

struct RawDelivery {
    id: DeliveryId,
    event: Event,
    status: DeliveryStatus,
    attempts: u32,
    created_at: Time,
    next_attempt_at: Option<Time>,
    last_attempt_at: Option<Time>,
    response_status: Option<u16>,
    seconds: Option<f64>,
    error: Option<String>,
}

impl From<RawDelivery> for Delivery {
    fn from(raw: RawDelivery) -> Self {
        Self {
            id: raw.id,
            event: raw.event,
            status: raw.status,
            attempts: raw.attempts,
            created_at: raw.created_at.0,
            next_attempt_at: raw.next_attempt_at.map(|time| time.0),
            last_attempt_at: raw.last_attempt_at.map(|time| time.0),
            response_status: raw.response_status,
            seconds: raw.seconds,
            error: raw.error,
        }
    }
}

/// One page of the deliveries of a webhook, newest first; those older than `before`.
///
/// # Errors
/// The database failed.
pub async fn deliveries(
    connection: &mut SqliteConnection,
    webhook: WebhookId,
    before: Option<DeliveryId>,
    limit: u32,
) -> Result<Page<Delivery>> {
    let one_more = limit + 1;
    let rows = sqlx::query_as!(
        RawDelivery,
        r#"SELECT id AS "id: _", event AS "event: _", status AS "status: _",
                  attempts AS "attempts: u32", created_at AS "created_at: Time",
                  next_attempt_at AS "next_attempt_at: Time",
                  last_attempt_at AS "last_attempt_at: Time",
                  response_status AS "response_status: u16", seconds, error
           FROM webhook_deliveries
           WHERE webhook_id = ?1 AND (?2 IS NULL OR id < ?2)
           ORDER BY id DESC LIMIT ?3"#,
        webhook,
        before,
        one_more
    )
    .fetch_all(connection)
    .await?;
    let items = rows.into_iter().map(Delivery::from).collect();
    Ok(Page::new(items, limit, |delivery: &Delivery| delivery.id.to_string()))
}
