//! Every route, top to bottom.

use std::{
    any::Any,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    body::Bytes,
    http::{Request, StatusCode, header},
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    normalize_path::NormalizePath,
    request_id::{PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    trace::TraceLayer,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    aliases, auth, classes, comparisons, content_encoding, cors, dashboard, datasets, docs,
    document::{RouteTable as _, document},
    drain, drift, evaluations, explain, export, images, imports, inference_protocol, jobs, metrics,
    model_history, model_reports, models, pace, predict, predictions, previews,
    problem::Problem,
    rate_limit::{self, RateLimit},
    recipes,
    request_id::{NewRequestId, REQUEST_ID},
    reviews, security_headers, shadow,
    state::AppState,
    system, tokens, trainers, uploads, webhooks, weights,
};

/// The routes that need no token.
pub(super) fn public_routes() -> OpenApiRouter<AppState> {
    let health = OpenApiRouter::new()
        .at("/healthz", routes!(system::health))
        .at("/readyz", routes!(system::ready));

    // A browser sends no token when it opens a page or its static files. They contain nothing that
    // is not in the program itself; API calls from the page need the token.
    let dashboard = OpenApiRouter::new()
        .at("/", routes!(dashboard::page))
        .route("/static/{*file}", get(dashboard::file));
    let docs = OpenApiRouter::new()
        .at("/openapi.json", routes!(openapi))
        .at("/docs", routes!(docs::page))
        .route("/docs/{file}", get(docs::asset));

    // Scripts and styles shrink to a third.
    let pages = dashboard.tagged("dashboard").merge(docs.tagged("docs"));
    health.tagged("health").merge(pages.layer(CompressionLayer::new()))
}

/// The routes that need the token, if one is set.
pub(super) fn protected_routes() -> OpenApiRouter<AppState> {
    let system = OpenApiRouter::new()
        .at("/system", routes!(system::system))
        .at("/recipes", routes!(recipes::recipes))
        .at("/metrics", routes!(metrics::show));

    let datasets = OpenApiRouter::new()
        .at("/datasets", routes!(datasets::list, datasets::create))
        .at("/datasets/{dataset}", routes!(datasets::show, datasets::delete))
        .at("/datasets/{dataset}/classes", routes!(classes::add))
        .at("/datasets/{dataset}/classes/{class}", routes!(classes::rename, classes::delete))
        .at("/datasets/{dataset}/split", routes!(datasets::split))
        .at("/datasets/{dataset}/statistics", routes!(datasets::statistics))
        .at("/datasets/{dataset}/charts/{chart}", routes!(datasets::chart))
        .at("/datasets/{dataset}/augmentations", routes!(datasets::augmentations));

    let reviews = OpenApiRouter::new()
        .at("/datasets/{dataset}/review", routes!(reviews::show, reviews::start, reviews::cancel))
        .at("/datasets/{dataset}/review/mislabelled", routes!(reviews::mislabelled))
        .at("/datasets/{dataset}/review/duplicates", routes!(reviews::duplicates))
        .at("/datasets/{dataset}/review/outliers", routes!(reviews::outliers))
        .at("/datasets/{dataset}/review/unlabelled", routes!(reviews::unlabelled))
        .at("/datasets/{dataset}/review/map", routes!(reviews::map))
        .at("/datasets/{dataset}/review/decisions", routes!(reviews::decide))
        .at("/datasets/{dataset}/review/join", routes!(reviews::join));

    let images = OpenApiRouter::new()
        .at("/datasets/{dataset}/images", routes!(images::list, uploads::upload))
        .at("/datasets/{dataset}/layout", routes!(previews::preview))
        .at("/datasets/{dataset}/archive", routes!(uploads::upload_archive))
        .at("/datasets/{dataset}/images/{image}", routes!(images::update, images::delete))
        .at("/images/{image}", routes!(images::original))
        .at("/images/{image}/thumbnail", routes!(images::thumbnail));

    let jobs = OpenApiRouter::new()
        .at("/jobs", routes!(jobs::list, jobs::create))
        .at("/jobs/{job}", routes!(jobs::show, jobs::delete))
        .at("/jobs/{job}/metrics", routes!(jobs::metrics))
        .at("/jobs/{job}/events", routes!(jobs::events))
        .at("/jobs/{job}/log", routes!(jobs::log))
        .at("/jobs/{job}/evaluation", routes!(evaluations::evaluation))
        .at("/jobs/{job}/charts/{chart}", routes!(evaluations::chart))
        .at("/jobs/{job}/cancel", routes!(jobs::cancel))
        .at("/jobs/{job}/stop", routes!(jobs::stop))
        .at("/jobs/{job}/resume", routes!(jobs::resume));

    let models = OpenApiRouter::new()
        .at("/models", routes!(models::list, imports::import))
        .at("/models/current", routes!(models::current, models::set_current))
        .at("/models/history", routes!(model_history::history))
        .at("/models/rollback", routes!(model_history::roll_back))
        .at("/models/shadow", routes!(shadow::show, shadow::set, shadow::remove))
        .at("/models/shadow/differences", routes!(shadow::differences))
        .at("/models/{model}", routes!(models::show, models::change, models::delete))
        .at("/models/{model}/compare", routes!(comparisons::compare, comparisons::cancel))
        .at("/models/{model}/coverage", routes!(models::show_coverage))
        .at("/models/{model}/download", routes!(models::download))
        .at("/models/{model}/export", routes!(export::export))
        .at("/models/{model}/report", routes!(model_reports::report));

    let aliases = OpenApiRouter::new()
        .at("/aliases", routes!(aliases::list))
        .at("/aliases/{alias}", routes!(aliases::set, aliases::delete))
        .at("/aliases/{alias}/rollback", routes!(aliases::roll_back));

    let prediction = OpenApiRouter::new()
        .at("/predict", routes!(predict::predict))
        .at("/explain", routes!(explain::explain));

    let predictions = OpenApiRouter::new()
        .at("/predictions", routes!(predictions::list, predictions::delete_old))
        .at("/predictions/summary", routes!(predictions::summary))
        .at("/predictions/drift", routes!(drift::show))
        .at("/predictions/{prediction}", routes!(predictions::show, predictions::delete))
        .at("/predictions/{prediction}/photo", routes!(predictions::photo))
        .at(
            "/predictions/{prediction}/feedback",
            routes!(predictions::give_feedback, predictions::withdraw_feedback),
        )
        .at("/predictions/{prediction}/image", routes!(predictions::add_image));

    let weights = OpenApiRouter::new()
        .at("/weights", routes!(weights::list))
        .at("/weights/{base}", routes!(weights::show, weights::put))
        .at("/weights/{base}/download", routes!(weights::download));

    let tokens = OpenApiRouter::new()
        .at("/tokens", routes!(tokens::list, tokens::create))
        .at("/tokens/{token}", routes!(tokens::revoke));

    let webhooks = OpenApiRouter::new()
        .at("/webhooks", routes!(webhooks::list, webhooks::create))
        .at("/webhooks/{webhook}", routes!(webhooks::show, webhooks::delete))
        .at("/webhooks/{webhook}/test", routes!(webhooks::test))
        .at("/webhooks/{webhook}/deliveries", routes!(webhooks::deliveries));

    // A model has one version; the longer paths are for clients that include it.
    let inference_protocol = OpenApiRouter::new()
        .at("/v2", routes!(inference_protocol::server))
        .at("/v2/health/live", routes!(inference_protocol::live))
        .at("/v2/health/ready", routes!(inference_protocol::ready))
        .at("/v2/models/{model}", routes!(inference_protocol::model))
        .at("/v2/models/{model}/ready", routes!(inference_protocol::model_ready))
        .at("/v2/models/{model}/infer", routes!(inference_protocol::infer))
        .route("/v2/models/{model}/versions/{version}", get(inference_protocol::model))
        .route("/v2/models/{model}/versions/{version}/ready", get(inference_protocol::model_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(inference_protocol::infer));

    system
        .tagged("system")
        .merge(datasets.tagged("datasets"))
        .merge(reviews.tagged("reviews"))
        .merge(images.tagged("images"))
        .merge(jobs.tagged("jobs"))
        .merge(models.tagged("models"))
        .merge(aliases.tagged("aliases"))
        .merge(prediction.tagged("prediction"))
        .merge(predictions.tagged("predictions"))
        .merge(weights.tagged("weights"))
        .merge(tokens.tagged("tokens"))
        .merge(webhooks.tagged("webhooks"))
        .merge(inference_protocol.tagged("inference_protocol"))
        .require_token()
}

/// The whole API.
pub fn router(state: AppState) -> Router {
    let protected = Router::from(protected_routes())
        .route_layer(middleware::from_fn(content_encoding::decode))
        .fallback(no_such_route)
        .layer(middleware::from_fn_with_state(state.clone(), auth::require_token));
    let protected = match state.config.rate_limit {
        Some(limit) => {
            let limit = Arc::new(RateLimit::new(limit));
            protected.layer(middleware::from_fn_with_state(limit, rate_limit::enforce))
        }
        None => protected,
    };

    let whole = Router::from(public_routes())
        .merge(protected)
        .merge(trainers::routes())
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(state.clone(), pace::enforce))
        .layer(middleware::from_fn(drain::drain))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(inference_protocol::add_error_member))
        .layer(middleware::from_fn_with_state(state.clone(), metrics::record))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, NewRequestId))
        .with_state(state.clone());

    // Around the whole table: routes are matched after trailing slashes are removed.
    let whole = NormalizePath::trim_trailing_slash(whole);
    // The links of this page are relative to `/docs`.
    let docs = get(|| async { Redirect::permanent("../docs") }).fallback_service(whole.clone());
    let whole = Router::new().route("/docs/", docs).fallback_service(whole);
    let whole = match cors::layer(&state.config.cors_origins) {
        Some(cors) => whole.layer(cors),
        None => whole,
    };
    whole.layer(middleware::map_response_with_state(state, security_headers::add))
}

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    document(public_routes().merge(protected_routes())).to_json().unwrap_or_default().into()
});

/// Get the OpenAPI document
#[utoipa::path(get, path = "", responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone())
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
        .unwrap_or("a panic without a message");
    Problem::internal(&std::io::Error::other(message.to_owned())).into_response()
}

async fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "no such endpoint")
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "method not allowed; see the Allow header",
    )
}
