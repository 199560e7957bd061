//! Cross-origin requests from the pages of named origins.
//!
//! Without such origins there are no headers of this kind: a browser then keeps other sites' pages
//! from reading responses and from sending anything but simple requests, and those are refused
//! where there is no token (see `cross_site`).

use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::request_id::REQUEST_ID;
use crate::config::origin::Origin;

/// How long a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(3600);

const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// The layer that answers preflight requests and allows `origins` to read responses; `None` if there
/// are none. Cookies are never sent: the token is a header.
pub(super) fn layer(origins: &[Origin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = origins.to_vec();
    let is_named = AllowOrigin::predicate(move |origin, _| origins.iter().any(|it| it.is(origin)));
    let layer = CorsLayer::new()
        .allow_origin(is_named)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
            REQUEST_ID,
            HEADER_LENGTH,
        ])
        .expose_headers([
            header::RETRY_AFTER,
            header::LOCATION,
            header::ETAG,
            header::ALLOW,
            header::ACCEPT_ENCODING,
            header::CONTENT_DISPOSITION,
            header::WWW_AUTHENTICATE,
            HeaderName::from_static("server-timing"),
            REQUEST_ID,
            HEADER_LENGTH,
        ])
        .max_age(MAX_AGE);
    Some(layer)
}
