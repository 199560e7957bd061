//! `GET /models/{m}/report`: what there is to know of a model, as data or as one HTML page.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path as FilePath,
};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use sha2::Sha256;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Json, Path, Query},
    models::damaged,
    problem::Problem,
    state::{App, AppState},
};
use crate::{
    domain::{dataset::Digest, model::Model, selective::AnswerThresholds},
    model_file,
    report::{self, ModelReport, Sources},
    storage::{evaluations, job_events, jobs},
    training::spec,
    weights::{self, files},
};

/// `?format=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReportQuery {
    /// `html` (default) or `json`.
    #[param(inline)]
    #[serde(default)]
    format: Format,
}

/// Format of a report.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[schema(as = ReportFormat)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// One page that needs nothing else.
    #[default]
    Html,
    /// The same as data.
    Json,
}

/// Get the report of a model
///
/// Data, recipe, learning curves, evaluation with confidence intervals, calibration, when it is unsure, its
/// limitations, and where it comes from. The HTML page needs nothing else: it can be opened from a disk, printed, and
/// sent to others.
#[utoipa::path(get, path = "", params(ReportQuery), responses(
    (status = 200, description = "The report.", content((ModelReport = "application/json"), (String = "text/html; charset=utf-8"))),
    (status = 422, description = "`invalid_value`"),
    (status = 500, description = "`model_damaged`: the file is missing or damaged. `internal`"),
))]
pub async fn report(
    State(app): State<AppState>,
    Path(model): Path<String>,
    Query(query): Query<ReportQuery>,
) -> Result<Response, Problem> {
    let model = app.registry.find(&model).await?;
    let report = ModelReport::new(sources(&app, model).await?);
    match query.format {
        Format::Json => Ok(Json(report).into_response()),
        Format::Html => {
            let name = report.model.name.clone();
            let page = tokio::task::spawn_blocking(move || report::html(&report));
            let page = page.await.map_err(|error| Problem::internal(&error))?;
            let page = page.map_err(|error| Problem::internal(&error))?;
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
                (header::CONTENT_DISPOSITION, format!("inline; filename=\"{name}.html\"")),
            ];
            Ok((headers, page).into_response())
        }
    }
}

async fn sources(app: &App, mut model: Model) -> Result<Sources, Problem> {
    let (path, thresholds, bytes) = (app.data_dir.model(model.id), model.thresholds, model.bytes);
    let read = tokio::task::spawn_blocking(move || {
        let card = model_file::load_card(&path)?;
        Ok((card, downloaded(&path, thresholds, bytes)?))
    });
    let read = read.await.map_err(|error| Problem::internal(&error))?;
    let (card, (bytes, sha256)) = read.map_err(|error| damaged(&error))?;
    model.bytes = bytes;
    let (job, epochs, evaluation) = {
        let mut connection = app.storage.read().await?;
        match model.job_id {
            None => (None, Vec::new(), None),
            Some(id) => (
                jobs::get(&mut connection, id).await?,
                job_events::epochs(&mut connection, id).await?,
                evaluations::get(&mut connection, id).await?,
            ),
        }
    };
    let samples = match &job {
        None => None,
        Some(job) => {
            let folder = app.data_dir.job(job.id);
            let read = tokio::task::spawn_blocking(move || spec::read_manifest(&folder));
            read.await.map_err(|error| Problem::internal(&error))?.ok()
        }
    };
    Ok(Sources { model, card, sha256, job, epochs, samples, evaluation })
}

/// Size and SHA-256 of a model's file of so many `bytes` as it is downloaded, with the thresholds as they are set
/// now; without a hash if it can't be read.
fn downloaded(
    path: &FilePath,
    thresholds: AnswerThresholds,
    bytes: u64,
) -> Result<(u64, Option<Digest>), weights::Error> {
    let head = model_file::head_with_thresholds(path, thresholds)?;
    let (head, weights) = head.unwrap_or_default();
    let hash = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(weights))?;
        files::hash_of::<Sha256>(head.as_slice().chain(file))
    };
    let hash = hash().ok().map(|hash| Digest(hash.into()));
    Ok((head.len() as u64 + bytes.saturating_sub(weights), hash))
}
