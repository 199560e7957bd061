//! `/predictions`: the log of predictions, and what people say about them.

use axum::{
    Extension,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    binary::Binary,
    detached::run_to_completion,
    extract::{Json, Paging, Path, Query, parse},
    problem::Problem,
    state::AppState,
    upload_slot::UploadSlot,
};
use crate::{
    access::Caller,
    datasets::report::Report,
    domain::{
        ClassName, PredictionId, Timestamp,
        dataset::Split,
        excerpt::Excerpt,
        logged::{LoggedModelSummary, LoggedPrediction},
    },
    journal::Journal,
    storage::{Page, prediction_pages::Filter},
    vision,
};

fn invalid(field: &str, detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail).with("field", field)
}

/// Filter of the log. Paging is apart: a flattened struct can't read numbers from a query.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PredictionFilter {
    /// Only predictions of the model of this name or id.
    model: Option<String>,
    /// Only predictions that the model was unsure of, or with `false` the others.
    #[param(value_type = Option<bool>)]
    unsure: Option<String>,
    /// Only predictions whose feedback names another class, or with `false` the others.
    #[param(value_type = Option<bool>)]
    contradicted: Option<String>,
    /// Only predictions with feedback, or with `false` those without.
    #[param(value_type = Option<bool>)]
    with_feedback: Option<String>,
    /// Only predictions of this class.
    label: Option<String>,
    /// Only predictions for the API token of this name.
    token: Option<String>,
    /// Only predictions from this time on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Only predictions before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

impl PredictionFilter {
    /// The filter, or `None` if nothing can pass it: its model has no prediction in the log.
    async fn resolve(self, app: &AppState, before: Option<i64>) -> Result<Option<Filter>, Problem> {
        let flag = |field: &str, text: Option<String>| {
            let parse = |text: String| {
                text.parse::<bool>().map_err(|_| {
                    let detail = format!("{field} must be true or false, not `{}`", Excerpt(&text));
                    invalid(field, detail)
                })
            };
            text.map(parse).transpose()
        };
        let filter = Filter {
            model: None,
            unsure: flag("unsure", self.unsure)?,
            contradicted: flag("contradicted", self.contradicted)?,
            with_feedback: flag("with_feedback", self.with_feedback)?,
            label: self.label,
            token: self.token,
            from: time("from", self.from.as_deref())?,
            to: time("to", self.to.as_deref())?,
            before,
        };
        let Some(model) = &self.model else { return Ok(Some(filter)) };
        let known = match model.as_str() {
            "current" => app.registry.current().await.map(|current| current.model),
            name => app.registry.find(name).await,
        };
        // A deleted model is known to the log alone.
        let reference = known.as_ref().map_or_else(|_| model.clone(), |it| it.id.to_string());
        if let Some(number) = app.journal.model_number(&reference).await? {
            return Ok(Some(Filter { model: Some(number), ..filter }));
        }
        // An unknown model is an error, one without predictions is not.
        known?;
        Ok(None)
    }
}

fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    parse(text).map_err(|_: Problem| {
        let text = Excerpt(text.unwrap_or_default());
        invalid(field, format!("{field} must be a time such as 2026-01-31T12:00:00Z, not `{text}`"))
    })
}

/// List the predictions in the log, newest first
///
/// Without `--prediction-log`, nothing is added to it.
#[utoipa::path(get, path = "", params(PredictionFilter, Paging), responses(
    (status = 200, description = "One page of predictions.", body = Page<LoggedPrediction>),
    (status = 404, description = "`not_found`: unknown model."),
))]
pub async fn list(
    State(app): State<AppState>,
    Query(filter): Query<PredictionFilter>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<LoggedPrediction>>, Problem> {
    let (before, limit) = (paging.cursor()?, paging.limit()?);
    Ok(Json(match filter.resolve(&app, before).await? {
        Some(filter) => app.journal.list(&filter, limit).await?,
        None => Page { items: Vec::new(), next_cursor: None },
    }))
}

/// What is kept of predictions.
#[derive(Debug, Serialize, ToSchema)]
pub struct PredictionLog {
    /// Whether predictions are logged.
    enabled: bool,
    /// Whether their images are kept.
    photos: bool,
    /// Days that predictions are kept.
    days: u64,
    /// Maximum number of predictions.
    max: u64,
    /// Maximum size of the images of all predictions, in bytes.
    photo_bytes: u64,
}

/// The log in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct PredictionSummary {
    log: PredictionLog,
    /// Each model with a prediction in the log, the newest first.
    models: Vec<LoggedModelSummary>,
}

/// Count the predictions in the log: of each model, and how many the feedback confirms
#[utoipa::path(get, path = "", responses((status = 200, description = "The log in numbers.", body = PredictionSummary)))]
pub async fn summary(State(app): State<AppState>) -> Result<Json<PredictionSummary>, Problem> {
    let config = app.journal.config();
    let log = PredictionLog {
        enabled: config.prediction_log,
        photos: config.prediction_log_photos,
        days: config.prediction_log_days,
        max: config.prediction_log_max,
        photo_bytes: config.prediction_log_photo_bytes,
    };
    Ok(Json(PredictionSummary { log, models: app.journal.summary().await? }))
}

/// Get a prediction
#[utoipa::path(get, path = "", responses((status = 200, description = "The prediction.", body = LoggedPrediction)))]
pub async fn show(
    State(app): State<AppState>,
    Path(id): Path<PredictionId>,
) -> Result<Json<LoggedPrediction>, Problem> {
    Ok(Json(app.journal.find(id).await?))
}

/// Delete a prediction from the log, with its feedback
///
/// Its image is deleted too, unless another prediction is of the same one.
#[utoipa::path(delete, path = "", responses(
    (status = 204, description = "Deleted."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn delete(
    State(app): State<AppState>,
    Path(id): Path<PredictionId>,
) -> Result<StatusCode, Problem> {
    let journal = app.journal.clone();
    run_to_completion(async move { journal.delete(id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which predictions are deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OldPredictions {
    /// Those of before this time.
    #[param(value_type = String, format = DateTime)]
    before: Option<String>,
}

/// The number of deleted predictions.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedPredictions {
    deleted: u64,
}

/// Delete the predictions of before a time from the log, with their images
#[utoipa::path(delete, path = "", params(OldPredictions), responses(
    (status = 200, description = "How many were deleted.", body = DeletedPredictions),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn delete_old(
    State(app): State<AppState>,
    Query(old): Query<OldPredictions>,
) -> Result<Json<DeletedPredictions>, Problem> {
    let before = time("before", old.before.as_deref())?
        .ok_or_else(|| invalid("before", "provide `before`, a time".to_owned()))?;
    let journal: Journal = app.journal.clone();
    let deleted = run_to_completion(async move { journal.delete_before(before).await }).await?;
    Ok(Json(DeletedPredictions { deleted }))
}

/// Get the image of a prediction, if it is kept
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The image as it was sent.", content(
        (Binary = "image/jpeg"), (Binary = "image/png"), (Binary = "image/gif"), (Binary = "image/webp"), (Binary = "image/bmp"),
    )),
    (status = 404, description = "`photo_not_kept`; `not_found`: unknown prediction."),
))]
pub async fn photo(
    State(app): State<AppState>,
    Path(id): Path<PredictionId>,
) -> Result<Response, Problem> {
    let (_, bytes) = app.journal.photo(id).await?;
    let media_type = vision::Format::sniff(&bytes)
        .map_or("application/octet-stream", vision::Format::media_type);
    let headers = [
        (header::CONTENT_TYPE, media_type),
        // It may be deleted for good.
        (header::CACHE_CONTROL, "private, no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, bytes).into_response())
}

/// Request body of `POST /predictions/{prediction}/feedback`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFeedback {
    /// The class that the image has: one of the model's.
    #[schema(value_type = ClassName)]
    label: String,
}

/// Say which class the image of a prediction has
///
/// Feedback that is given again replaces the earlier one. The scope `predict` is enough: whoever sent the image
/// has the prediction's id.
#[utoipa::path(post, path = "", request_body = NewFeedback, responses(
    (status = 200, description = "The prediction with its feedback.", body = LoggedPrediction),
    (status = 422, description = "`unknown_label`: the label is not a class of the model. `invalid_value`"),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn give_feedback(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<PredictionId>,
    Json(new): Json<NewFeedback>,
) -> Result<Json<LoggedPrediction>, Problem> {
    let (journal, by) = (app.journal.clone(), caller.token().cloned());
    let given = async move { journal.give_feedback(id, &new.label, by.as_ref()).await };
    Ok(Json(run_to_completion(given).await?))
}

/// Withdraw the feedback on a prediction
#[utoipa::path(delete, path = "", responses(
    (status = 200, description = "The prediction without feedback.", body = LoggedPrediction),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn withdraw_feedback(
    State(app): State<AppState>,
    Path(id): Path<PredictionId>,
) -> Result<Json<LoggedPrediction>, Problem> {
    let journal = app.journal.clone();
    Ok(Json(run_to_completion(async move { journal.withdraw_feedback(id).await }).await?))
}

/// Request body of `POST /predictions/{prediction}/image`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictionImage {
    /// Name or id of the dataset.
    dataset: String,
    /// Class of the image. By default that of the feedback; without feedback, the image is unlabelled.
    #[schema(value_type = Option<ClassName>)]
    label: Option<String>,
    /// Target split; by default 70/15/15 by content hash.
    split: Option<Split>,
}

/// Add the image of a prediction to a dataset
///
/// As `POST /datasets/{dataset}/images` does: an image that can't be used does not fail the request; the
/// report lists it.
#[utoipa::path(post, path = "", request_body = PredictionImage, responses(
    (status = 200, description = "Upload report.", body = Report),
    (status = 404, description = "`photo_not_kept`; `not_found`: unknown prediction or dataset."),
    (status = 422, description = "`unknown_label`: the dataset has no such class. `invalid_value`"),
    (status = 429, description = "`too_many_uploads`: more concurrent uploads than `--max-uploads`."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn add_image(
    State(app): State<AppState>,
    _slot: UploadSlot,
    Path(id): Path<PredictionId>,
    Json(target): Json<PredictionImage>,
) -> Result<Json<Report>, Problem> {
    let (prediction, bytes) = app.journal.photo(id).await?;
    let given = prediction.feedback.map(|feedback| feedback.label.to_string());
    let PredictionImage { dataset, label, split } = target;
    let label = label.or(given);
    // Folders in a name would say which split it belongs to.
    let name = prediction.file_name.as_deref().and_then(|name| name.rsplit(['/', '\\']).next());
    let name = match name {
        None | Some("") => format!("{id}.{}", extension(&bytes)),
        Some(name) => name.to_owned(),
    };
    let datasets = app.datasets.clone();
    let add = async move {
        datasets.add_image(&dataset, &name, bytes.into(), label.as_deref(), split).await
    };
    Ok(Json(run_to_completion(add).await?))
}

/// The end of the name of an image file.
fn extension(bytes: &[u8]) -> &'static str {
    let media_type = vision::Format::sniff(bytes).map_or("image/jpeg", vision::Format::media_type);
    match media_type.rsplit('/').next() {
        Some("jpeg") | None => "jpg",
        Some(other) => other,
    }
}
