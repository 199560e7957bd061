//! Every route, top to bottom.

use std::any::Any;

use axum::{
    Router,
    http::{HeaderName, Request, StatusCode},
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, patch, post},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    trace::TraceLayer,
};
use uuid::Uuid;

use super::{
    auth, datasets, drain, evaluations, images, inference_protocol, jobs, models, predict,
    problem::Problem, state::AppState, system, weights,
};

/// The whole API.
pub fn router(state: AppState) -> Router {
    let open =
        Router::new().route("/healthz", get(system::health)).route("/readyz", get(system::ready));

    let about =
        Router::new().route("/system", get(system::system)).route("/recipes", get(system::recipes));

    let datasets = Router::new()
        .route("/datasets", get(datasets::list).post(datasets::create))
        .route("/datasets/{dataset}", get(datasets::show).delete(datasets::delete))
        .route("/datasets/{dataset}/images", get(images::list).post(images::upload))
        .route("/datasets/{dataset}/archive", post(images::upload_archive))
        .route("/datasets/{dataset}/images/{image}", patch(images::change).delete(images::delete))
        .route("/datasets/{dataset}/statistics", get(datasets::statistics))
        .route("/datasets/{dataset}/charts/{chart}", get(datasets::chart))
        .route("/datasets/{dataset}/augmentations", get(datasets::augmentations))
        .route("/images/{image}", get(images::original))
        .route("/images/{image}/thumbnail", get(images::thumbnail));

    let jobs = Router::new()
        .route("/jobs", get(jobs::list).post(jobs::create))
        .route("/jobs/{job}", get(jobs::show).delete(jobs::delete))
        .route("/jobs/{job}/metrics", get(jobs::metrics))
        .route("/jobs/{job}/events", get(jobs::events))
        .route("/jobs/{job}/log", get(jobs::log))
        .route("/jobs/{job}/evaluation", get(evaluations::evaluation))
        .route("/jobs/{job}/charts/{chart}", get(evaluations::chart))
        .route("/jobs/{job}/cancel", post(jobs::cancel))
        .route("/jobs/{job}/stop", post(jobs::stop))
        .route("/jobs/{job}/resume", post(jobs::resume));

    let models = Router::new()
        .route("/models", get(models::list))
        .route("/models/current", get(models::current).put(models::choose))
        .route("/models/{model}", get(models::show).delete(models::delete))
        .route("/models/{model}/download", get(models::download))
        .route("/predict", post(predict::predict));

    let weights = Router::new()
        .route("/weights/vgg16", get(weights::show).put(weights::put))
        .route("/weights/vgg16/download", post(weights::download));

    let inference_protocol = Router::new()
        .route("/v2", get(inference_protocol::server))
        .route("/v2/health/live", get(inference_protocol::live))
        .route("/v2/health/ready", get(inference_protocol::ready))
        .route("/v2/models/{model}", get(inference_protocol::model))
        .route("/v2/models/{model}/ready", get(inference_protocol::model_ready))
        .route("/v2/models/{model}/infer", post(inference_protocol::infer))
        .route("/v2/models/{model}/versions/{version}", get(inference_protocol::model))
        .route("/v2/models/{model}/versions/{version}/ready", get(inference_protocol::model_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(inference_protocol::infer));

    let guarded = about
        .merge(datasets)
        .merge(jobs)
        .merge(models)
        .merge(weights)
        .merge(inference_protocol)
        .fallback(no_such_route)
        .layer(middleware::from_fn_with_state(state.clone(), auth::require_token));

    open.merge(guarded)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(drain::drain))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(inference_protocol::name_the_error))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, NewRequestId))
        .with_state(state)
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Clone)]
struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        Uuid::now_v7().to_string().parse().ok().map(RequestId::new)
    }
}

fn span<B>(request: &Request<B>) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    tracing::info_span!(
        "request",
        request.id = id,
        http.method = %request.method(),
        http.path = request.uri().path(),
    )
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the layer's")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words");
    Problem::internal(&std::io::Error::other(message.to_owned())).into_response()
}

async fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing under this path")
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take that method; the Allow header says which it takes",
    )
}
