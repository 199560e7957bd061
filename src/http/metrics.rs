//! `GET /metrics`, and the layer that counts every request for it.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{problem::Problem, state::AppState};
use crate::{
    domain::prediction::{ModelRef, Timing},
    metrics::{Metrics, MetricsSnapshot, PredictionLogSnapshot, RequestLabels},
    storage::{self, jobs},
};

/// The status of requests whose client left before the response: nginx's.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Get Prometheus metrics
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "Counters, gauges and histograms in the Prometheus text format.", body = String, content_type = "text/plain"),
))]
pub async fn show(State(state): State<AppState>) -> Result<Response, Problem> {
    let jobs = async { jobs::counts(&mut *state.storage.read().await?).await };
    let jobs = jobs.await.inspect_err(|error: &storage::Error| {
        tracing::warn!(error = crate::error_chain::chain(error), "can't count jobs");
    });
    let engine = state.registry.engine(None).await.ok();
    let snapshot = MetricsSnapshot {
        queue_depth: state
            .config
            .queue_capacity()
            .saturating_sub(state.admitted.available_permits()),
        memory: (state.memory.total(), state.memory.reserved()),
        jobs: jobs.ok(),
        model: engine.map(|engine| {
            let card = engine.card();
            ModelRef { id: card.id, name: card.name.clone(), recipe: card.recipe }
        }),
        predictions: predictions(&state).await,
    };
    let text = state.metrics.text(&snapshot).map_err(|error| Problem::internal(&error))?;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// The state of the log of predictions, if there is one.
async fn predictions(state: &AppState) -> Option<PredictionLogSnapshot> {
    let journal = &state.journal;
    if !journal.is_on() {
        return None;
    }
    let counts = journal.counts();
    let drift = journal.recent_drift().await.inspect_err(|error| {
        tracing::warn!(error = crate::error_chain::chain(error), "can't measure drift");
    });
    Some(PredictionLogSnapshot { counts, drift: drift.ok() })
}

/// Counts a request by its route, method and status.
pub async fn record(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let labels = RequestLabels {
        method: method(request.method()),
        route: route.map_or("unmatched", MatchedPath::as_str).to_owned(),
        status: CLIENT_CLOSED_REQUEST,
    };
    let mut counted = CountedRequest { metrics: &state.metrics, labels, started: Instant::now() };
    let response = next.run(request).await;
    counted.labels.status = response.status().as_u16();
    let route = &counted.labels.route;
    let predicts = route == "/predict" || route.ends_with("/infer");
    if predicts && response.status() == StatusCode::TOO_MANY_REQUESTS {
        state.metrics.record_rejection();
    }
    response
}

/// A request in progress, counted when it ends, even if it is dropped because its client left.
struct CountedRequest<'a> {
    metrics: &'a Metrics,
    labels: RequestLabels,
    started: Instant,
}

impl Drop for CountedRequest<'_> {
    fn drop(&mut self) {
        self.metrics.record_request(&self.labels, self.started.elapsed());
    }
}

/// Clients may invent methods; only these get their own label.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The header that shows the timing of a prediction in a browser's developer tools.
#[must_use]
pub fn server_timing(timing: &Timing) -> [(HeaderName, String); 1] {
    let Timing { decode, queue, inference, total } = timing;
    let value = format!(
        "decode;dur={decode:.1}, queue;dur={queue:.1}, inference;dur={inference:.1}, total;dur={total:.1}"
    );
    [(HeaderName::from_static("server-timing"), value)]
}
