//! Headers of every response that tell a browser what its content may do, and whose pages may use
//! it. A handler may set its own: those of pages allow what the pages need.

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, header},
    response::Response,
};

use super::state::AppState;

const HEADERS: [(HeaderName, HeaderValue); 8] = [
    // Nothing that a response contains is ever run or loads anything: not an uploaded file either
    // that is opened on its own. A chart brings its styles.
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // No other site's page may embed a response.
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(self), microphone=(), geolocation=()"),
    ),
    (
        HeaderName::from_static("x-permitted-cross-domain-policies"),
        HeaderValue::from_static("none"),
    ),
];

/// For 30 days, a browser that reached this host name over HTTPS uses only that, on all its ports.
const STRICT_TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=2592000");

/// Adds the headers that `response` lacks.
pub(super) async fn add(State(state): State<AppState>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    if state.config.tls_cert.is_some() {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(STRICT_TRANSPORT_SECURITY);
    }
    response
}
