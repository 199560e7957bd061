//! `/`: the dashboard, from the files of `static/` in the binary.
//!
//! A build without optimisation reads them from the source folder instead, so that a page that is
//! worked on needs no compiler.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use rust_embed::Embed;

use super::{extract::Path, images::etag_matches, problem::Problem};

#[derive(Embed)]
#[folder = "static"]
struct Files;

/// Everything comes from this server, and nothing that is written into a page runs or styles it.
/// `blob:` is a photo that the page itself holds: one that was just picked, or fetched with a token.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The dashboard.
#[utoipa::path(get, path = "",
    params(("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client holds")),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html; charset=utf-8",
            headers(("ETag" = String, description = "Stands for the bytes."))),
        (status = 304, description = "The client has it."),
    ),
)]
pub async fn page(headers: HeaderMap) -> Result<Response, Problem> {
    serve("index.html", &headers)
}

/// A file that the dashboard is made of.
///
/// # Errors
/// 404.
pub async fn file(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    serve(&file, &headers)
}

fn serve(file: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let found = Files::get(file).ok_or_else(|| Problem::not_found("file of the page", file))?;
    let tag = format!("\"{}\"", hex::encode(found.metadata.sha256_hash()));
    let media_type = match found.metadata.mimetype() {
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    };
    let known = etag_matches(headers, &tag);
    let headers = [
        (header::ETAG, tag),
        // Asked for each time, so that a new version of the program is seen at once.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let body = found.data.into_owned();
    Ok((headers, [(header::CONTENT_TYPE, media_type)], body).into_response())
}
