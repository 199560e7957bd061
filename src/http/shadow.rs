//! `/models/shadow`: a challenger that answers requests beside the model in service, unseen by clients.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    detached::run_to_completion,
    extract::{Json, Paging, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::shadow::{Difference, Shadow},
    shadow::Error,
    storage::Page,
};

/// Share of the processor time by default.
const CPU_FRACTION: f64 = 0.25;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::OtherClasses(_) => Self::new(StatusCode::CONFLICT, "other_classes", detail),
            Error::InService(_) => Self::new(StatusCode::CONFLICT, "in_service", detail),
            Error::Registry(error) => error.into(),
            Error::Storage(error) => error.into(),
        }
    }
}

/// New shadow.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewShadow {
    /// Name or id of the model; of an alias, the model that it points to now.
    model: String,
    /// Share of this machine's processor time that it may use, above 0 and up to 1.
    #[serde(default = "cpu_fraction")]
    #[schema(default = 0.25, exclusive_minimum = 0, maximum = 1)]
    cpu_fraction: f64,
}

const fn cpu_fraction() -> f64 {
    CPU_FRACTION
}

/// Get the shadow and what it has done
#[utoipa::path(get, path = "", operation_id = "show_shadow", responses(
    (status = 200, description = "The shadow, or null if there is none.", body = Option<Shadow>),
))]
pub async fn show(State(app): State<AppState>) -> Result<Json<Option<Shadow>>, Problem> {
    Ok(Json(app.shadow.get().await?))
}

/// Have a model answer the requests to the model in service, unseen by clients
///
/// It classifies the same images after the response, on one thread of the lowest priority, within its share of
/// the processor time; what doesn't fit is dropped. Another model begins anew; the same one keeps its
/// totals.
#[utoipa::path(put, path = "", operation_id = "set_shadow", request_body = NewShadow, responses(
    (status = 200, description = "The shadow.", body = Shadow),
    (status = 404, description = "Unknown model."),
    (status = 409, description = "`other_classes`: the model has different classes than the one in service. `in_service`: it is in service itself."),
    (status = 422, description = "`invalid_value`; `model_unusable`: the model file can't be loaded."),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn set(
    State(app): State<AppState>,
    Json(NewShadow { model, cpu_fraction }): Json<NewShadow>,
) -> Result<Json<Option<Shadow>>, Problem> {
    if !(cpu_fraction > 0.0 && cpu_fraction <= 1.0) {
        let detail = format!("cpu_fraction must be above 0 and at most 1, not {cpu_fraction}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
            .with("field", "cpu_fraction"));
    }
    let shadow = app.shadow.clone();
    run_to_completion(async move { shadow.set(&model, cpu_fraction).await }).await?;
    show(State(app)).await
}

/// End the shadow, and forget what it has done
#[utoipa::path(delete, path = "", operation_id = "remove_shadow", responses((status = 204, description = "Ended, or there was none.")))]
pub async fn remove(State(app): State<AppState>) -> Result<StatusCode, Problem> {
    let shadow = app.shadow.clone();
    run_to_completion(async move { shadow.remove().await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List images for which the shadow predicted another class, newest first
///
/// The last 1,000. Images are named by their hash and are not stored.
#[utoipa::path(get, path = "", operation_id = "list_shadow_differences", params(Paging), responses(
    (status = 200, description = "One page of images; without a shadow, an empty one.", body = Page<Difference>),
))]
pub async fn differences(
    State(app): State<AppState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Difference>>, Problem> {
    let (limit, before) = (paging.limit()?, paging.cursor()?);
    Ok(Json(app.shadow.differences(before, limit).await?))
}
