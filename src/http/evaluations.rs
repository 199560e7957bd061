//! Evaluations of jobs: numbers and charts.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa::ToSchema;

use super::{
    extract::{Json, Path},
    jobs::find,
    problem::Problem,
    state::AppState,
};
use crate::{
    charts,
    domain::{JobId, evaluation::Evaluation},
    storage::{evaluations, job_events},
};

/// Get the test evaluation of a job's best epoch
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The evaluation.", body = Evaluation),
    (status = 404, description = "`not_found`; `no_evaluation`: not evaluated yet, or no test images."),
))]
pub async fn evaluation(
    State(app): State<AppState>,
    Path(job): Path<String>,
) -> Result<Json<Evaluation>, Problem> {
    let job = find(&app, &job).await?;
    let mut evaluation = read(&app, job.id).await?;
    let images: Vec<_> = evaluation.misclassified.iter().map(|wrong| wrong.image_id).collect();
    let mut connection = app.storage.read().await?;
    let mut names = evaluations::file_names(&mut connection, &images).await?;
    for wrong in &mut evaluation.misclassified {
        wrong.file_name = names.remove(&wrong.image_id);
    }
    Ok(Json(evaluation))
}

async fn read(app: &AppState, job: JobId) -> Result<Evaluation, Problem> {
    let mut connection = app.storage.read().await?;
    evaluations::get(&mut connection, job).await?.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no_evaluation",
            "no evaluation: the job has not been evaluated yet, or its dataset has no test images",
        )
    })
}

/// The charts of a job, for the OpenAPI document.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only the OpenAPI document reads them")]
enum JobChart {
    #[schema(rename = "accuracy.svg")]
    Accuracy,
    #[schema(rename = "loss.svg")]
    Loss,
    #[schema(rename = "confusion.svg")]
    Confusion,
    #[schema(rename = "pr.svg")]
    PrecisionRecall,
    #[schema(rename = "roc.svg")]
    Roc,
    #[schema(rename = "reliability.svg")]
    Reliability,
}

/// Render a chart of epoch metrics or of the evaluation (SVG)
#[utoipa::path(get, path = "",
    params(("chart" = inline(JobChart), Path, description = "Chart name")),
    responses(
        (status = 200, description = "The chart.", body = String, content_type = "image/svg+xml"),
        (status = 404, description = "`not_found`; `no_evaluation`: no data for this chart yet."),
    ),
)]
pub async fn chart(
    State(app): State<AppState>,
    Path((job, chart)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let job = find(&app, &job).await?;
    let drawn = match chart.as_str() {
        "accuracy.svg" | "loss.svg" => {
            let mut connection = app.storage.read().await?;
            let epochs = job_events::epochs(&mut connection, job.id).await?;
            let best = job.best.map(|best| best.epoch);
            if chart == "loss.svg" {
                charts::loss(&epochs, best)
            } else {
                charts::accuracy(&epochs, best)
            }
        }
        "confusion.svg" => charts::confusion(&read(&app, job.id).await?),
        "pr.svg" => charts::pr(&read(&app, job.id).await?),
        "roc.svg" => charts::roc(&read(&app, job.id).await?),
        "reliability.svg" => charts::reliability(&read(&app, job.id).await?),
        _ => {
            return Err(no_such_chart("accuracy, loss, confusion, pr, roc, reliability"));
        }
    };
    svg(drawn)
}

/// 404: unknown chart.
pub(super) fn no_such_chart(names: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("unknown chart; available (with .svg): {names}"),
    )
}

/// A chart as a response. It changes as epochs arrive.
pub(super) fn svg(drawn: Result<String, charts::Error>) -> Result<Response, Problem> {
    let drawn = drawn.map_err(|error| Problem::internal(&error))?;
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, drawn).into_response())
}
