//! The bearer token, checked before any handler of the API runs.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use subtle::ConstantTimeEq as _;

use super::{problem::Problem, state::AppState};

/// Lets a request through when no token is set, or when it carries the one that is.
pub async fn require_token(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let Some(expected) = &state.config.api_token else {
        return match from_elsewhere(request.headers(), state.config.allow_anonymous) {
            Some(problem) => problem.into_response(),
            None => next.run(request).await,
        };
    };
    let presented = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
        .map(|(_, token)| token);
    let detail = match presented {
        // In constant time: how long a refusal takes must not tell how much of a guess was right.
        Some(token) if bool::from(token.ct_eq(expected.as_bytes())) => {
            return next.run(request).await;
        }
        Some(_) => "that is not this server's token",
        None => "this server asks for a token: send `Authorization: Bearer <token>`",
    };
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response()
}

/// Without a token, anything that can reach the server may use it: also a page of some other site
/// in a browser on this machine, or one that had its own name resolve to this address. A request
/// that such a page made says so.
fn from_elsewhere(headers: &HeaderMap, allow_anonymous: bool) -> Option<Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST)?;
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let is_address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    let known = is_address || name.eq_ignore_ascii_case("localhost") || allow_anonymous;
    let own = text(header::ORIGIN).is_none_or(|origin| {
        origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
    });
    (!known || !own).then(|| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "cross_site",
            "a server without a token answers no page of another site; set PAWPRINT_API_TOKEN",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        from_elsewhere(&headers, false).is_some()
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_our_own_are_not() {
        for host in ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080", "[::1]"] {
            assert!(!refused(host, None), "{host}");
            assert!(!refused(host, Some(&format!("http://{host}"))), "{host}");
            assert!(refused(host, Some("http://example.org")), "{host}");
            assert!(refused(host, Some("null")), "{host}");
        }
        assert!(refused("example.org:8080", None));
    }
}
