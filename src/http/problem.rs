//! RFC 9457 problems: the body of every unsuccessful response.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::domain::excerpt::Excerpt;

/// Maximum characters of a `detail`; a longer one repeats input, and is shortened.
const MAX_DETAIL: usize = 1_000;

/// An error response: `application/problem+json` with a stable `code`.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    extensions: Map<String, Value>,
}

impl Problem {
    /// A client error; `detail` is a readable message.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, extensions: Map::new() }
    }

    /// 404: no `what` has that name or id.
    pub fn not_found(what: &str, name: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no {what} `{}`", Excerpt(&name.to_string())),
        )
    }

    /// A server error: `error` is logged, and not sent to the client.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %crate::error_chain::chain(error), "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "internal error; search the server log for this response's X-Request-Id",
        )
    }

    /// Sets when to retry.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(key.to_owned(), value.into());
        self
    }
}

/// Shortens a very long message: keeps its beginning, which says what is wrong, and a little of its
/// end, which may say what to do.
fn cut(detail: String) -> String {
    let (head, tail) = (MAX_DETAIL * 3 / 20, MAX_DETAIL / 20);
    let length = detail.chars().count();
    if length <= MAX_DETAIL {
        return detail;
    }
    let mut short: String = detail.chars().take(head).collect();
    short.push_str(" … ");
    short.extend(detail.chars().skip(length - tail));
    short
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        let text = |description| {
            ObjectBuilder::new().schema_type(Type::String).description(Some(description))
        };
        let status = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .description(Some("HTTP status code"))
            .minimum(Some(400))
            .maximum(Some(599));
        let code = text("Stable error code").pattern(Some("^[a-z0-9_]+$"));
        ObjectBuilder::new()
            .description(Some("RFC 9457 problem details. Some problems have additional members."))
            .property("type", text("Always `about:blank`; use `code` instead"))
            .property("title", text("HTTP reason phrase"))
            .property("status", status)
            .property("code", code)
            .property("detail", text("Readable message"))
            .required("type")
            .required("title")
            .required("status")
            .required("code")
            .required("detail")
            .into()
    }
}

impl ToSchema for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": cut(self.detail),
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.extensions);
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_without_end_is_cut_between_characters() {
        assert_eq!(cut("short".to_owned()), "short");
        let long = format!("begin {} end", "ä".repeat(100_000));
        let short = cut(long);
        assert_eq!(short.chars().count(), 203);
        assert!(short.starts_with("begin ä") && short.ends_with("ä end"), "{short}");
    }
}
