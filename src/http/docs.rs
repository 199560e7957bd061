//! `/docs`: interactive API documentation, from Swagger UI's files in the binary.

use std::sync::{Arc, LazyLock};

use axum::{
    http::header,
    response::{Html, IntoResponse, Response},
};
use maud::{DOCTYPE, html};
use utoipa_swagger_ui::Config;

use super::{extract::Path, problem::Problem};

/// The page reads the document of the server it came from. `none`: it never sends the document to
/// another host for validation.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::from("openapi.json").use_base_layout().validator_url("none");
    Arc::new(config.display_request_duration(true).filter(true).try_it_out_enabled(true))
});

/// Nothing is fetched from other hosts; the inline styles are those that Swagger UI sets itself.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// Interactive API documentation (Swagger UI)
#[utoipa::path(get, path = "", responses((status = 200, description = "The page.", body = String, content_type = "text/html; charset=utf-8")))]
pub async fn page() -> impl IntoResponse {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Pawprint API" }
                link rel="stylesheet" href="docs/swagger-ui.css";
                link rel="icon" type="image/png" href="docs/favicon-32x32.png";
            }
            body {
                div id="swagger-ui" {}
                script src="docs/swagger-ui-bundle.js" {}
                script src="docs/swagger-ui-standalone-preset.js" {}
                script src="docs/swagger-initializer.js" {}
            }
        }
    };
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page.into_string()))
}

/// A static file of the page.
///
/// # Errors
/// 404.
pub async fn asset(Path(file): Path<String>) -> Result<Response, Problem> {
    let found = utoipa_swagger_ui::serve(&file, Arc::clone(&CONFIG));
    let found =
        found.map_err(|error| Problem::internal(&std::io::Error::other(error.to_string())))?;
    let found = found.ok_or_else(|| Problem::not_found("static file", &file))?;
    Ok(([(header::CONTENT_TYPE, found.content_type)], found.bytes.into_owned()).into_response())
}
