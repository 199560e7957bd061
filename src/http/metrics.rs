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
    metrics::{Metrics, RequestLabels, Standing},
    storage::{self, jobs},
};

/// The status that requests are counted under whose client left before the answer: nginx's.
const LEFT: u16 = 499;

/// Tells how the server fares, for Prometheus.
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "Counters, gauges and histograms as Prometheus' text.", body = String, content_type = "text/plain"),
))]
pub async fn show(State(state): State<AppState>) -> Result<Response, Problem> {
    let jobs = async { jobs::counts(&mut *state.storage.read().await?).await };
    let jobs = jobs.await.inspect_err(|error: &storage::Error| {
        tracing::warn!(error = crate::error_chain::chain(error), "the jobs can't be counted");
    });
    let engine = state.registry.engine(None).await.ok();
    let standing = Standing {
        queue_depth: (state.config.queue_capacity.get())
            .saturating_sub(state.admitted.available_permits()),
        memory: (state.memory.total(), state.memory.reserved()),
        jobs: jobs.ok(),
        model: engine.map(|engine| {
            let card = engine.card();
            ModelRef { id: card.id, name: card.name.clone(), recipe: card.recipe }
        }),
    };
    let text = state.metrics.text(&standing).map_err(|error| Problem::internal(&error))?;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// Counts a request by its route, method and status.
pub async fn record(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let labels = RequestLabels {
        method: method(request.method()),
        route: route.map_or("unmatched", MatchedPath::as_str).to_owned(),
        status: LEFT,
    };
    let mut counted = Counted { metrics: &state.metrics, labels, begun: Instant::now() };
    let response = next.run(request).await;
    counted.labels.status = response.status().as_u16();
    if response.status() == StatusCode::TOO_MANY_REQUESTS && counted.labels.route == "/predict" {
        state.metrics.rejected();
    }
    response
}

/// A request under way, counted when it ends, also where it is dropped because its client left.
struct Counted<'a> {
    metrics: &'a Metrics,
    labels: RequestLabels,
    begun: Instant,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.requested(&self.labels, self.begun.elapsed());
    }
}

/// Clients may make up methods; these are the ones with a name of their own.
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

/// The header that shows a browser's developer tools where the time of a prediction went.
#[must_use]
pub fn server_timing(timing: &Timing) -> [(HeaderName, String); 1] {
    let Timing { decode, queue, inference, total } = timing;
    let value = format!(
        "decode;dur={decode:.1}, queue;dur={queue:.1}, inference;dur={inference:.1}, total;dur={total:.1}"
    );
    [(HeaderName::from_static("server-timing"), value)]
}
