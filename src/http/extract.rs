//! Extractors of requests; each rejection is a [`Problem`].

use axum::{
    extract::{
        FromRequest, FromRequestParts, Request,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::{body, problem::Problem, state::AppState};
use crate::domain::excerpt::shorten_quote;

/// Maximum bytes of a JSON body without images.
const MAX_JSON: u64 = 2 << 20;

/// A JSON body, in and out.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        Self::read(request, MAX_JSON, state).await
    }
}

impl<T: DeserializeOwned> Json<T> {
    /// Reads a body of at most `max` bytes.
    ///
    /// # Errors
    /// It is larger, or not the JSON that is expected.
    pub async fn read(request: Request, max: u64, state: &AppState) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "send JSON, with `Content-Type: application/json`",
            ));
        }
        let body = body::read(request, max, state).await?;
        body::json(&body).map(Self)
    }
}

/// Whether a body is declared as JSON, or as a format based on JSON.
fn is_json(headers: &HeaderMap) -> bool {
    body::media_type(headers).ok().flatten().is_some_and(|mime| {
        mime.type_() == mime::APPLICATION
            && (mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON))
    })
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Parameters of the query.
#[derive(Debug, Clone, Copy, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// Parameters of the path. One that can't be parsed names nothing: 404.
#[derive(Debug, Clone, Copy, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_value",
            shorten_quote(&rejection.body_text()),
        )
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", shorten_quote(&rejection.body_text()))
    }
}

/// `?limit=` and `?cursor=` of a list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Maximum number of items per page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

impl Paging {
    /// Items per page: 50 by default.
    ///
    /// # Errors
    /// 0, or more than 500.
    pub fn limit(&self) -> Result<u32, Problem> {
        match self.limit.unwrap_or(50) {
            limit @ 1..=500 => Ok(limit),
            limit => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_value",
                format!("limit must be 1 to 500, not {limit}"),
            )),
        }
    }

    /// The item that the page begins after.
    ///
    /// # Errors
    /// A cursor that no list returned.
    pub fn cursor<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        self.cursor.as_deref().map(str::parse).transpose().map_err(|_| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_value",
                "cursor must be a `next_cursor` returned by this list",
            )
        })
    }
}

/// Parses a value of the query.
///
/// # Errors
/// 422 with the message of the parser.
pub fn parse<T>(text: Option<&str>) -> Result<Option<T>, Problem>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.map(str::parse).transpose().map_err(|error| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", format!("{error}"))
    })
}
