//! `GET /predictions/drift`: whether new images are like those that a model was validated on.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Json, Query},
    problem::Problem,
    state::AppState,
};
use crate::journal::{Drift, Error, Journal};

/// A year.
const MAX_HOURS: u32 = 24 * 366;
const MAX_BUCKETS: u32 = 200;

/// Model and time.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DriftQuery {
    /// Name or id of the model. Default: the model in service.
    model: Option<String>,
    /// The last so many hours.
    #[param(minimum = 1, maximum = 8784, default = 24)]
    hours: Option<u32>,
    /// Parts of that time.
    #[param(minimum = 1, maximum = 200, default = 24)]
    buckets: Option<u32>,
}

/// Compare the predictions of a model with its validation split
///
/// Population stability index of the predicted classes and of the distances to the training images, and a
/// two-proportion test of how often the model is unsure.
#[utoipa::path(get, path = "", operation_id = "drift", params(DriftQuery), responses(
    (status = 200, description = "The comparison.", body = Drift),
    (status = 404, description = "`not_found`: unknown model."),
    (status = 409, description = "`prediction_log_off`: the server keeps no log of predictions."),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn show(
    State(app): State<AppState>,
    Query(query): Query<DriftQuery>,
) -> Result<Json<Drift>, Problem> {
    let within = |field: &str, value: u32, max: u32| match value {
        _ if (1..=max).contains(&value) => Ok(value),
        _ => {
            let detail = format!("{field} must be 1 to {max}, not {value}");
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail);
            Err(problem.with("field", field))
        }
    };
    let hours = within("hours", query.hours.unwrap_or(24), MAX_HOURS)?;
    let buckets = within("buckets", query.buckets.unwrap_or(24), MAX_BUCKETS)?;
    if !app.journal.is_on() {
        return Err(Error::Off.into());
    }
    let reference = match query.model.filter(|model| model != "current") {
        // A deleted model is known to the log alone.
        Some(reference) => match app.registry.find(&reference).await {
            Ok(model) => model.id.to_string(),
            Err(_) => reference,
        },
        None => app.registry.current().await?.model.id.to_string(),
    };
    if let Some(drift) = app.journal.drift(&reference, hours, buckets).await? {
        return Ok(Json(drift));
    }
    Ok(Json(Journal::no_drift(app.registry.find(&reference).await?, hours, buckets)))
}
