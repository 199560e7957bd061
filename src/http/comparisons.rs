//! `/models/{model}/compare`: two models on the same test images.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Json, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    comparisons::{Error, Outcome, Progress},
    domain::{comparison::Comparison, model::Model},
};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let (status, code) = match &error {
            Error::NoSuchJob(_) => (StatusCode::NOT_FOUND, "not_found"),
            Error::NoJob | Error::NoTestImages(_) => (StatusCode::CONFLICT, "no_test_images"),
            Error::OtherClasses { .. } => (StatusCode::CONFLICT, "other_classes"),
            Error::Cancelled => (StatusCode::CONFLICT, "cancelled"),
            Error::Busy => (StatusCode::TOO_MANY_REQUESTS, "too_many_comparisons"),
            Error::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Error::Unusable(_) | Error::Failed(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "model_unusable")
            }
            Error::Io(_) => return Self::internal(&error),
            Error::Storage(error) => return (&**error).into(),
        };
        let problem = Self::new(status, code, detail);
        match error {
            Error::Busy => problem.retry_after(std::time::Duration::from_secs(5)),
            _ => problem,
        }
    }
}

/// `?with=&job=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CompareQuery {
    /// Name, alias or id of the second model, or `current`.
    #[param(required = true)]
    with: Option<String>,
    /// Name or id of the job whose test images decide. Default: that of the newer model.
    job: Option<String>,
}

impl CompareQuery {
    async fn models(&self, app: &AppState, first: &str) -> Result<(Model, Model), Problem> {
        let with = self.with.as_deref().ok_or_else(|| {
            let detail = "with is required: the name, alias or id of the second model";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
                .with("field", "with")
        })?;
        Ok((find(app, first).await?, find(app, with).await?))
    }
}

async fn find(app: &AppState, reference: &str) -> Result<Model, Problem> {
    Ok(match reference {
        "current" => app.registry.current().await?.model,
        reference => app.registry.find(reference).await?,
    })
}

/// Compare two models on the same test images
///
/// On the test split of the job of the newer model, as it was when that job was created. What a model
/// predicts for these images is computed once and kept; a request waits up to 20 seconds for that, and
/// is then told how far it is.
#[utoipa::path(get, path = "", params(CompareQuery), responses(
    (status = 200, description = "The comparison.", body = Comparison),
    (status = 202, description = "Predictions are being computed; ask again.", body = Progress),
    (status = 409, description = "`other_classes`: a model has different classes than the images. `no_test_images`: the job has none, or both jobs were deleted. `cancelled`"),
    (status = 422, description = "`invalid_value`; `model_unusable`: a model file can't be loaded."),
    (status = 429, description = "`too_many_comparisons`", headers(("Retry-After" = u64, description = "Seconds to wait."))),
    (status = 503, description = "`draining`: the server is shutting down. `no_model`"),
))]
pub async fn compare(
    State(app): State<AppState>,
    Path(model): Path<String>,
    Query(query): Query<CompareQuery>,
) -> Result<Response, Problem> {
    let (first, second) = query.models(&app, &model).await?;
    Ok(match app.comparisons.compare(first, second, query.job.as_deref()).await? {
        Outcome::Done(comparison) => Json(comparison).into_response(),
        Outcome::Computing(progress) => (StatusCode::ACCEPTED, Json(progress)).into_response(),
    })
}

/// Cancel a comparison that is being computed
///
/// That of these models on the test images of that job; others go on.
#[utoipa::path(delete, path = "", operation_id = "cancel_comparison", params(CompareQuery), responses(
    (status = 204, description = "Cancelled, or nothing was being computed."),
))]
pub async fn cancel(
    State(app): State<AppState>,
    Path(model): Path<String>,
    Query(query): Query<CompareQuery>,
) -> Result<StatusCode, Problem> {
    let (first, second) = query.models(&app, &model).await?;
    app.comparisons.cancel(&first, &second, query.job.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}
