//! `/`: the dashboard, from the files of `static/` in the binary.
//!
//! A build without optimisation reads them from the source folder instead, so that changes to a
//! page need no compiler.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use axum_extra::{TypedHeader, headers::ETag};
use rust_embed::Embed;

use super::{extract::Path, images::etag_matches, problem::Problem};

#[derive(Embed)]
#[folder = "static"]
struct Files;

/// Everything comes from this server, and inline scripts and styles are blocked. `blob:` is an
/// image that the page itself holds: one that was just selected, or fetched with a token.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Get the dashboard page
#[utoipa::path(get, path = "",
    params(("If-None-Match" = Option<String>, Header, description = "`ETag` of a previous response")),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html; charset=utf-8",
            headers(("ETag" = String, description = "Entity tag."))),
        (status = 304, description = "Not modified."),
    ),
)]
pub async fn page(headers: HeaderMap) -> Result<Response, Problem> {
    serve("index.html", &headers)
}

/// A static file of the dashboard.
///
/// # Errors
/// 404.
pub async fn file(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    serve(&file, &headers)
}

fn serve(file: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let found = Files::get(file).ok_or_else(|| Problem::not_found("static file", file))?;
    // Weak: the body may be compressed or not.
    let tag = format!("W/\"{}\"", hex::encode(found.metadata.sha256_hash()));
    let tag = tag.parse::<ETag>().map_err(|error| Problem::internal(&error))?;
    let media_type = match found.metadata.mimetype() {
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    };
    let known = etag_matches(headers, &tag);
    let headers = [
        // Revalidated each time, so that a new version of the program is seen at once.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let headers = (TypedHeader(tag), headers);
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let body = found.data.into_owned();
    Ok((headers, [(header::CONTENT_TYPE, media_type)], body).into_response())
}
