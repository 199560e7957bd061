//! `/webhooks`: who is told when a job has ended or another model goes into service.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    detached::run_to_completion,
    extract::{Json, Paging, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::webhook::{Delivery, Event, Webhook},
    storage::Page,
};

/// Request body of `POST /webhooks`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where deliveries are sent: `https://…` or `http://…`.
    url: String,
    /// What it is told of. Default: everything.
    events: Option<Vec<Event>>,
    /// The key that signs deliveries: `whsec_` and 24 to 64 bytes in Base64. Default: generated.
    secret: Option<String>,
}

/// A webhook that was just created.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    /// The key that signs deliveries. It is not shown again.
    secret: String,
}

/// All webhooks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhooks)]
pub struct List {
    items: Vec<Webhook>,
}

/// Add a webhook
///
/// Deliveries are POST requests with JSON: `type`, `timestamp` and `data`, signed as
/// [Standard Webhooks](https://www.standardwebhooks.com) has it: the header `webhook-signature` is `v1,` and the
/// HMAC-SHA256, in Base64, of `webhook-id`, `webhook-timestamp` and the body, joined by dots. A receiver accepts
/// one with a status between 200 and 299 within ten seconds; otherwise it gets it again with the same
/// `webhook-id`, up to eleven times within some seventeen hours. It may get one twice.
#[utoipa::path(post, path = "", request_body = NewWebhook, responses(
    (status = 201, description = "The webhook, with its secret.", body = CreatedWebhook, headers(("Location" = String, description = "URL of the webhook."))),
    (status = 409, description = "`too_many`: there are as many webhooks as there may be."),
    (status = 422, description = "`invalid_value`: the URL, the events or the secret can't be used (named in `field`), such as an address that is not public."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn create(
    State(app): State<AppState>,
    Json(new): Json<NewWebhook>,
) -> Result<impl IntoResponse, Problem> {
    let webhooks = app.webhooks.clone();
    let NewWebhook { url, events, secret } = new;
    let created =
        run_to_completion(async move { webhooks.create(&url, events, secret).await }).await;
    let (webhook, secret) = created?;
    let headers = [
        (header::LOCATION, format!("/webhooks/{}", webhook.id)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, Json(CreatedWebhook { webhook, secret })))
}

/// List the webhooks, oldest first
#[utoipa::path(get, path = "", responses((status = 200, description = "The webhooks, without their secrets.", body = List)))]
pub async fn list(State(app): State<AppState>) -> Result<Json<List>, Problem> {
    Ok(Json(List { items: app.webhooks.list().await? }))
}

/// Get a webhook
#[utoipa::path(get, path = "", responses((status = 200, description = "The webhook, without its secret.", body = Webhook)))]
pub async fn show(
    State(app): State<AppState>,
    Path(webhook): Path<String>,
) -> Result<Json<Webhook>, Problem> {
    Ok(Json(app.webhooks.get(&webhook).await?))
}

/// Delete a webhook
///
/// What has not been delivered yet is not sent.
#[utoipa::path(delete, path = "", responses(
    (status = 204, description = "Deleted."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn delete(
    State(app): State<AppState>,
    Path(webhook): Path<String>,
) -> Result<StatusCode, Problem> {
    let webhooks = app.webhooks.clone();
    run_to_completion(async move { webhooks.delete(&webhook).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a test to a webhook
///
/// It is sent at once, and only once; the response says whether the receiver accepted it.
#[utoipa::path(post, path = "", responses(
    (status = 200, description = "The delivery: `delivered` or `failed`.", body = Delivery),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn test(
    State(app): State<AppState>,
    Path(webhook): Path<String>,
) -> Result<Json<Delivery>, Problem> {
    let webhooks = app.webhooks.clone();
    Ok(Json(run_to_completion(async move { webhooks.test(&webhook).await }).await?))
}

/// List the deliveries to a webhook, newest first
///
/// The newest 500 that wait are kept, and the newest 500 of the others.
#[utoipa::path(get, path = "", params(Paging), responses((status = 200, description = "One page of deliveries.", body = Page<Delivery>)))]
pub async fn deliveries(
    State(app): State<AppState>,
    Path(webhook): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Delivery>>, Problem> {
    Ok(Json(app.webhooks.deliveries(&webhook, paging.cursor()?, paging.limit()?).await?))
}
