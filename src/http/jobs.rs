//! `/jobs`: create, watch and end jobs.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::Stream;
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::{
    detached::run_to_completion,
    extract::{Json, Paging, Path, Query, parse},
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::{
        JobId,
        estimate::probe::JobEstimate,
        job::{Job, JobStatus, Progress},
        metrics::EpochMetrics,
        recipe::Recipe,
    },
    executors::local::LOG,
    scheduler::{CreatedJob, Error, NewJob},
    storage::{self, Page, job_events, job_pages, jobs},
};

/// Create and queue a training job
///
/// Each class needs training and validation images. A job on a class without test images is
/// created with a warning: its model can't be evaluated on test images of each class.
///
/// With `dry_run`, no job is created: a trainer runs a few of its steps on a few of its images, which takes
/// up to some twenty seconds, and the response says what the job would need, and whether it fits.
#[utoipa::path(post, path = "", request_body = NewJob, responses(
    (status = 202, description = "The job.", body = CreatedJob, headers(("Location" = String, description = "URL of the job."))),
    (status = 200, description = "With `dry_run`: what the job needs.", body = JobEstimate),
    (status = 404, description = "Unknown dataset."),
    (status = 409, description = "`name_taken`: another job or model has that name. `does_not_fit`: the job needs more memory or disk space (`resource`) than there is; `needed` and `available` are in bytes, and `force` queues it anyway. `weights_unavailable`: with `dry_run`, the weights of its base network are not on the server yet."),
    (status = 422, description = "`invalid_value`: a parameter is out of range (named in `field`) or has the wrong type (named in `detail`). `dataset_not_trainable`: fewer than two classes, or a class without training or validation images (named in `detail`)."),
    (status = 429, description = "`probe_running`: with `dry_run`, another job is being measured."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn create(
    State(state): State<AppState>,
    Json(new): Json<NewJob>,
) -> Result<Response, Problem> {
    if new.dry_run {
        return Ok(Json(state.scheduler.probe(new).await?).into_response());
    }
    let created = state.scheduler.submit(new).await?;
    let location = format!("/jobs/{}", created.job.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(created)).into_response())
}

/// `?status=&recipe=&dataset=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only jobs with this status.
    #[param(value_type = Option<JobStatus>)]
    status: Option<String>,
    /// Only jobs with this recipe.
    #[param(value_type = Option<Recipe>)]
    recipe: Option<String>,
    /// Only jobs on this dataset (name or id).
    dataset: Option<String>,
}

/// List jobs, newest first
#[utoipa::path(get, path = "", params(ListQuery, Paging), responses((status = 200, description = "One page of jobs.", body = Page<Job>)))]
pub async fn list(
    State(state): State<AppState>,
    Query(query): Query<ListQuery>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Job>>, Problem> {
    let filter = job_pages::Filter {
        status: parse(query.status.as_deref())?,
        recipe: parse(query.recipe.as_deref())?,
        dataset: query.dataset,
        before: paging.cursor()?,
    };
    let mut connection = state.storage.read().await?;
    Ok(Json(job_pages::page(&mut connection, &filter, paging.limit()?).await?))
}

/// Get a job
#[utoipa::path(get, path = "", responses((status = 200, description = "The job.", body = Job)))]
pub async fn show(
    State(state): State<AppState>,
    Path(job): Path<String>,
) -> Result<Json<Job>, Problem> {
    Ok(Json(find(&state, &job).await?))
}

pub(super) async fn find(state: &AppState, reference: &str) -> Result<Job, Problem> {
    let mut connection = state.storage.read().await?;
    let job = jobs::find(&mut connection, reference).await?;
    job.ok_or_else(|| Error::NoSuchJob(reference.to_owned()).into())
}

/// The epochs of a job, in order.
#[derive(Debug, Serialize, ToSchema)]
struct Epochs {
    epochs: Vec<EpochMetrics>,
}

/// Get metrics per epoch, as JSON or CSV (`Accept: text/csv`)
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The epochs so far.", content((Epochs = "application/json"), (String = "text/csv; charset=utf-8"))),
))]
pub async fn metrics(
    State(state): State<AppState>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = find(&state, &job).await?;
    let mut connection = state.storage.read().await?;
    let epochs = job_events::epochs(&mut connection, job.id).await?;
    let wants_csv = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/csv"));
    if !wants_csv {
        return Ok(Json(Epochs { epochs }).into_response());
    }
    let csv = csv_of(&epochs).map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv).into_response())
}

fn csv_of(epochs: &[EpochMetrics]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if epochs.is_empty() {
        writer.write_record(EpochMetrics::FIELDS)?;
    }
    for epoch in epochs {
        writer.serialize(epoch)?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// Get the training log
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The log so far.", body = String, content_type = "text/plain; charset=utf-8"),
))]
pub async fn log(
    State(state): State<AppState>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    let job = find(&state, &job).await?;
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let path = state.data_dir.job(job.id).join(LOG);
    match tokio::fs::File::open(path).await {
        Ok(file) => Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response()),
        // No trainer has started yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok((headers, "").into_response())
        }
        Err(error) => Err(Problem::internal(&error)),
    }
}

/// Cancel a job
///
/// It ends as `cancelled`; its last checkpoint is kept.
#[utoipa::path(post, path = "", responses(
    (status = 202, description = "The job.", body = Job, headers(("Location" = String, description = "URL of the job."))),
    (status = 409, description = "`wrong_status`: the job has finished."),
))]
pub async fn cancel(
    State(state): State<AppState>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    Ok(accepted(run_to_completion(async move { state.scheduler.cancel(&job).await }).await?))
}

/// Stop training early
///
/// The best epoch so far is evaluated and registered, and the job ends as `succeeded`; without a
/// completed epoch it ends as `failed` (`nothing_to_keep`).
#[utoipa::path(post, path = "", responses(
    (status = 202, description = "The job.", body = Job, headers(("Location" = String, description = "URL of the job."))),
    (status = 409, description = "`wrong_status`: the job is not running."),
))]
pub async fn stop(
    State(state): State<AppState>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    Ok(accepted(run_to_completion(async move { state.scheduler.stop(&job).await }).await?))
}

/// Resume a cancelled, failed or interrupted job from its last checkpoint
#[utoipa::path(post, path = "", responses(
    (status = 202, description = "The job.", body = Job, headers(("Location" = String, description = "URL of the job."))),
    (status = 409, description = "`wrong_status`: the job is not `cancelled`, `failed` or `interrupted`."),
))]
pub async fn resume(
    State(state): State<AppState>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    Ok(accepted(state.scheduler.resume(&job).await?))
}

fn accepted(job: Job) -> Response {
    let location = format!("/jobs/{}", job.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(job)).into_response()
}

/// Delete a job; its model is kept
#[utoipa::path(delete, path = "", responses(
    (status = 204, description = "Deleted."),
    (status = 409, description = "`wrong_status`: the job is queued or running."),
))]
pub async fn delete(
    State(state): State<AppState>,
    Path(job): Path<String>,
) -> Result<StatusCode, Problem> {
    state.scheduler.delete(&job).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stream the events of a job (Server-Sent Events)
///
/// The events are `status`, `progress`, `epoch`, `evaluation` and `service` (whether the model went
/// into service). Replays stored events after `Last-Event-ID`, then sends new ones until the job
/// finishes.
#[utoipa::path(get, path = "",
    params(("Last-Event-ID" = Option<i64>, Header, description = "Id of the last event received")),
    responses(
        (status = 200, description = "The events.", body = String, content_type = "text/event-stream"),
        (status = 422, description = "`invalid_value`: `Last-Event-ID` is not a valid event id."),
    ),
)]
pub async fn events(
    State(state): State<AppState>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = find(&state, &job).await?;
    let last = match headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default()) {
        None | Some("") => 0,
        Some(id) => id.parse().map_err(|_| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_value",
                "Last-Event-ID must be the id of an event of this job",
            )
        })?,
    };
    let watcher = EventStream { job: job.id, last, progress: None };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    // Proxies that buffer would hold events back.
    let headers = [(header::CACHE_CONTROL.as_str(), "no-cache"), ("x-accel-buffering", "no")];
    Ok((headers, Sse::new(watcher.stream(state)).keep_alive(keep_alive)).into_response())
}

/// The position of one reader of a job's events.
struct EventStream {
    job: JobId,
    last: i64,
    progress: Option<Progress>,
}

impl EventStream {
    fn stream(mut self, state: AppState) -> impl Stream<Item = Result<Event, Infallible>> {
        async_stream::stream! {
            let mut changes = state.scheduler.changes();
            loop {
                changes.mark_unchanged();
                let (events, over) = match self.poll(&state).await {
                    Ok(seen) => seen,
                    Err(error) => {
                        // The client reconnects with the last id it received.
                        tracing::warn!(error = crate::error_chain::chain(&error), "event stream aborted");
                        return;
                    }
                };
                let more = !events.is_empty();
                for event in events {
                    yield Ok(event);
                }
                if over {
                    return;
                }
                // There may be more until a query finds nothing new.
                if more {
                    continue;
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = state.shutdown.cancelled() => {
                        yield Ok(Event::default().event("end").data("the server is shutting down"));
                        return;
                    }
                }
            }
        }
    }

    /// New events since the last query, and whether these were the last ones.
    async fn poll(&mut self, state: &AppState) -> Result<(Vec<Event>, bool), storage::Error> {
        let mut connection = state.storage.read().await?;
        // The job first: everything it did before it finished is then among the events.
        let job = jobs::get(&mut connection, self.job).await?;
        let stored = job_events::after(&mut connection, self.job, self.last).await?;
        let over = stored.is_empty() && job.as_ref().is_none_or(|job| job.status.is_final());
        let mut events: Vec<Event> = Vec::with_capacity(stored.len() + 1);
        for event in stored {
            self.last = event.id;
            events
                .push(Event::default().id(event.id.to_string()).event(event.kind).data(event.data));
        }
        let progress = job.filter(|job| !job.status.is_final()).and_then(|job| job.progress);
        if progress != self.progress {
            self.progress = progress;
            events.extend(
                progress.and_then(|progress| {
                    Event::default().event("progress").json_data(progress).ok()
                }),
            );
        }
        Ok((events, over))
    }
}
