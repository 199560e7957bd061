//! `GET /models/{m}/report`: what there is to know of a model, as data or as one HTML page.

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
    domain::{dataset::Digest, model::Model},
    model_file,
    report::{self, ModelReport, Sources},
    storage::{evaluations, job_events, jobs},
    training::spec,
    weights::files,
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

async fn sources(app: &App, model: Model) -> Result<Sources, Problem> {
    let path = app.data_dir.model(model.id);
    let read = tokio::task::spawn_blocking(move || {
        let card = model_file::load_card(&path)?;
        let hash = files::hash::<Sha256>(&path).ok();
        Ok((card, hash.map(|hash| Digest(hash.into()))))
    });
    let read = read.await.map_err(|error| Problem::internal(&error))?;
    let (card, sha256) = read.map_err(|error| damaged(&error))?;
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
