//! `/models`: the models, and the one in service.

use std::io::{self, SeekFrom};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Deserializer};
use tokio::{fs::File, io::AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::{
    binary::Binary,
    detached::run_to_completion,
    extract::{Json, Paging, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    access::Caller,
    domain::{
        model::{Architecture, Model},
        selective::{AnswerThresholds, Coverage},
    },
    error_chain::chain,
    model_file,
    registry::Current,
    storage::{Page, models},
    weights,
};

/// List models, newest first
#[utoipa::path(get, path = "", params(Paging), responses((status = 200, description = "One page of models.", body = Page<Model>)))]
pub async fn list(
    State(state): State<AppState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Model>>, Problem> {
    let (limit, before) = (paging.limit()?, paging.cursor()?);
    let in_service = state.registry.in_service();
    let mut connection = state.storage.read().await?;
    Ok(Json(models::list(&mut connection, None, before, limit, in_service).await?))
}

/// Get a model
#[utoipa::path(get, path = "", responses((status = 200, description = "The model.", body = Model)))]
pub async fn show(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<Json<Model>, Problem> {
    Ok(Json(state.registry.find(&model).await?))
}

/// Download a model as safetensors, with the model card in its metadata
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The file.", body = Binary, content_type = "application/octet-stream"),
    (status = 500, description = "`model_damaged`: the file is missing or damaged. `internal`"),
))]
pub async fn download(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<Response, Problem> {
    let model = state.registry.find(&model).await?;
    let path = state.data_dir.model(model.id);
    let mut file = whole(&path, model.bytes).await?;
    // With the thresholds as they are set now.
    let head = move || model_file::head_with_thresholds(&path, model.thresholds);
    let head =
        tokio::task::spawn_blocking(head).await.map_err(|error| Problem::internal(&error))?;
    let (head, weights) = head.map_err(|error| damaged(&error))?.unwrap_or_default();
    file.seek(SeekFrom::Start(weights)).await.map_err(|error| Problem::internal(&error))?;
    let bytes = head.len() as u64 + model.bytes.saturating_sub(weights);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}.safetensors\"", model.name),
        ),
    ];
    let head = stream::iter([Ok(Bytes::from(head))]);
    Ok((headers, Body::from_stream(head.chain(ReaderStream::new(file)))).into_response())
}

/// The file of a model that has so many bytes.
async fn whole(path: &std::path::Path, bytes: u64) -> Result<File, Problem> {
    let opened = async {
        let file = File::open(path).await?;
        Ok::<_, io::Error>((file.metadata().await?.len() == bytes).then_some(file))
    };
    match opened.await {
        Ok(Some(file)) => Ok(file),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Problem::internal(&error)),
        _ => {
            tracing::error!(path = %path.display(), bytes, "a model file is missing or damaged");
            Err(damaged_problem())
        }
    }
}

pub(super) fn damaged(error: &weights::Error) -> Problem {
    tracing::error!(error = chain(error), "a model file is missing or damaged");
    damaged_problem()
}

pub(super) fn damaged_problem() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "model_damaged",
        "the model file is missing or damaged; restore it from a backup, or train the model again",
    )
}

/// Request body of `PATCH /models/{m}`: what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelChanges {
    /// The model is unsure below this probability of the predicted class, 0 to 1; null: never.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1)]
    answer_above: Option<Option<f64>>,
    /// Sets `answer_above` to the lowest probability from which the answers had this accuracy on the
    /// validation split, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    wanted_accuracy: Option<f64>,
    /// The model is unsure above this distance to its training images, 0 to 2; null: never.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 2)]
    unlike_above: Option<Option<f64>>,
}

/// Tells null from a member that is left out.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Change when a model is unsure
///
/// For the requests from now on.
#[utoipa::path(patch, path = "", request_body = ModelChanges, responses(
    (status = 200, description = "The model.", body = Model),
    (status = 422, description = "`invalid_value`"),
))]
pub async fn change(
    State(state): State<AppState>,
    Path(model): Path<String>,
    Json(changes): Json<ModelChanges>,
) -> Result<Json<Model>, Problem> {
    let model = state.registry.find(&model).await?;
    let ModelChanges { answer_above, wanted_accuracy, unlike_above } = changes;
    let answer_above = answer_above.map(|above| in_range("answer_above", above, 1.0));
    let mut answer_above = answer_above.transpose()?;
    if let Some(wanted) = in_range("wanted_accuracy", wanted_accuracy, 1.0)? {
        if answer_above.is_some() {
            let detail = "set either answer_above or wanted_accuracy";
            return Err(invalid("wanted_accuracy", detail.to_owned()));
        }
        let coverage = coverage(&state, &model).await?;
        if coverage.0.is_empty() {
            let detail = "the model was trained by an older version, which did not record its accuracy by probability; set answer_above";
            return Err(invalid("wanted_accuracy", detail.to_owned()));
        }
        answer_above = Some(Some(coverage.threshold(wanted)));
    }
    if unlike_above.flatten().is_some() && model.architecture == Architecture::Cnn.as_str() {
        let detail = "a network trained from scratch can't tell that an image is unlike its training images; models of recipes on a pretrained network can";
        return Err(invalid("unlike_above", detail.to_owned()));
    }
    let unlike_above = unlike_above.map(|above| in_range("unlike_above", above, 2.0));
    let unlike_above = unlike_above.transpose()?;
    let (registry, id) = (state.registry.clone(), model.id);
    // Others may have changed the one that stays meanwhile.
    let change = move |thresholds: &mut AnswerThresholds| {
        thresholds.answer_above = answer_above.unwrap_or(thresholds.answer_above);
        thresholds.unlike_above = unlike_above.unwrap_or(thresholds.unlike_above);
    };
    run_to_completion(async move { registry.change_thresholds(id, change).await }).await?;
    Ok(Json(state.registry.find(&model.id.to_string()).await?))
}

fn in_range(field: &str, value: Option<f64>, largest: f64) -> Result<Option<f64>, Problem> {
    match value {
        Some(value) if !(0.0..=largest).contains(&value) => {
            Err(invalid(field, format!("{field} must be between 0 and {largest}, not {value}")))
        }
        value => Ok(value),
    }
}

fn invalid(field: &str, detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail).with("field", field)
}

/// Get a model's accuracy by the share of answered images
///
/// Measured on the validation split. With a higher threshold, the model answers fewer images, and
/// more of its answers are correct.
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "One point per threshold, in ascending order; at the first, 0, all images are answered. Empty for models of older versions.", body = Coverage),
))]
pub async fn show_coverage(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<Json<Coverage>, Problem> {
    let model = state.registry.find(&model).await?;
    Ok(Json(coverage(&state, &model).await?))
}

async fn coverage(state: &AppState, model: &Model) -> Result<Coverage, Problem> {
    let path = state.data_dir.model(model.id);
    let card = tokio::task::spawn_blocking(move || model_file::load_card(&path));
    match card.await.map_err(|error| Problem::internal(&error))? {
        Ok(card) => Ok(card.coverage),
        Err(error) => Err(damaged(&error)),
    }
}

/// Get the model in service
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The model, its selection mode and when it went into service.", body = Current),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn current(State(state): State<AppState>) -> Result<Json<Current>, Problem> {
    Ok(Json(state.registry.current().await?))
}

/// Request body of `PUT /models/current`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ModelChoice)]
#[serde(deny_unknown_fields)]
pub struct ModelSelection {
    /// Model name, alias or id to pin, or `best` for automatic selection.
    model: String,
}

/// Select the model in service
///
/// Pins a model, or returns to the best one, which a new model replaces if the promotion rule allows it.
/// Requests in progress finish on the previous model.
#[utoipa::path(put, path = "", operation_id = "choose", request_body = ModelSelection, responses(
    (status = 200, description = "The model now in service.", body = Current),
    (status = 404, description = "Unknown model."),
    (status = 422, description = "`invalid_value`; `model_unusable`: the model file can't be loaded."),
    (status = 503, description = "`no_model`: no model is in service."),
))]
pub async fn set_current(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    Json(choice): Json<ModelSelection>,
) -> Result<Json<Current>, Problem> {
    let registry = state.registry.clone();
    run_to_completion(async move {
        if choice.model == "best" {
            return registry.follow_best(caller.into()).await;
        }
        registry.pin(&choice.model, caller.into()).await
    })
    .await?;
    current(State(state)).await
}

/// Delete a model
#[utoipa::path(delete, path = "", responses(
    (status = 204, description = "Deleted."),
    (status = 409, description = "`in_service`: the model is in service; `embedded_model`: the built-in model can't be deleted; `has_alias`: an alias points to the model (named in `alias`)."),
))]
pub async fn delete(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<StatusCode, Problem> {
    state.registry.delete(&model).await?;
    Ok(StatusCode::NO_CONTENT)
}
