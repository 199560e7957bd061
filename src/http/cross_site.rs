//! Requests of other sites' pages, which a browser on this machine or network sends without its user's
//! knowledge.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Method, Uri, header},
};

use crate::config::origin::Origin;

/// Where the page is that a browser sends a request for, seen from the server, and what for.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Without a token, anything that can reach the server may use it: also a page of another site in a
/// browser on this machine, or one whose own name resolves to this address. The headers of such a
/// request show its origin. Pages of origins that the settings name may send requests.
pub(super) fn is_cross_site(request: &Request, allowed: &[String], named: &[Origin]) -> bool {
    let headers = request.headers();
    let Some(hosts) = hosts(request.uri(), headers) else { return true };
    let known = hosts.iter().all(|host| is_own_host(host, allowed));
    !known
        || match sender(headers, &hosts, named) {
            Sender::Named => false,
            Sender::Other => true,
            Sender::Own | Sender::Unknown => is_fetched_by_another(request.method(), headers),
        }
}

/// Whose page sends a request, by its `Origin`.
enum Sender {
    Own,
    /// One that the settings name.
    Named,
    Other,
    /// There is no such header: no browser, or a request that can only read.
    Unknown,
}

fn sender(headers: &HeaderMap, hosts: &[&str], named: &[Origin]) -> Sender {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return if headers.contains_key(header::ORIGIN) { Sender::Other } else { Sender::Unknown };
    };
    if named.iter().any(|named| named.is(origin)) {
        return Sender::Named;
    }
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let is_own =
        |(_, origin): (&str, &str)| hosts.iter().all(|host| host.eq_ignore_ascii_case(origin));
    if origin.is_some_and(is_own) { Sender::Own } else { Sender::Other }
}

/// Whether the browser says that the request is for a page of another origin, unless it opens a
/// link, which only reads and whose page sees nothing of the response.
fn is_fetched_by_another(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name, values: &[&str]| {
        headers.get_all(name).iter().all(|value| values.iter().any(|it| value == it))
    };
    let opens_link = method.is_safe()
        && headers.contains_key(SEC_FETCH_MODE)
        && is(SEC_FETCH_MODE, &["navigate"]);
    !is(SEC_FETCH_SITE, &["same-origin", "none"]) && !opens_link
}

/// The host that a request names, in each place that may name it: HTTP/2 has it in the URI
/// (`:authority`), HTTP/1.1 in `Host`, and a proxy between the two may leave both. Empty if it
/// can't be read.
fn hosts<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Vec<&'a str>> {
    let authority = uri.authority().map(|authority| Some(authority.as_str()));
    let named = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
    authority.into_iter().chain(named).collect()
}

/// Domains that no name server on the Internet answers for (RFC 6761, 6762, 8375, and by ICANN's
/// reservation): what ends in one was named by somebody in the same network.
const PRIVATE_DOMAINS: [&str; 6] =
    [".localhost", ".local", ".internal", ".home.arpa", ".lan", ".test"];

/// Whether `host`, which may end in a port, is one that no other site can have: an address, a name
/// without a dot (a machine or a container of this network), one in a private domain, or one of
/// `allowed`.
fn is_own_host(host: &str, allowed: &[String]) -> bool {
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    is_address
        || !name.is_empty() && !name.contains('.')
        || PRIVATE_DOMAINS.iter().any(|domain| name.ends_with(domain))
        || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 10] = [
        "127.0.0.1:8080",
        "192.168.1.7",
        "localhost:8080",
        "localhost",
        "[::1]:8080",
        "[::1]",
        "pawprint:8080",
        "Nas.Local:8080",
        "gpu.home.arpa",
        "pawprint.svc.cluster.internal:8080",
    ];

    /// As HTTP/1.1 and as HTTP/2 send it; both must give the same result.
    #[track_caller]
    fn refused(host: &str, origin: Option<&str>) -> bool {
        let origin = origin.map(|origin| ("origin", origin));
        let uri = format!("http://{host}/jobs");
        let by_authority = is_cross_site(&request("GET", &uri, origin), &[], &[]);
        let headers = origin.into_iter().chain([("host", host)]);
        let by_host = is_cross_site(&request("GET", "/jobs", headers), &[], &[]);
        assert_eq!(by_host, by_authority, "{host} {origin:?}");
        by_host
    }

    fn request<'a>(
        method: &str,
        uri: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Request {
        let request = Request::builder().method(method).uri(uri);
        let headers = headers.into_iter();
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        request.body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn what_a_browser_fetches_for_another_page_is_refused_and_a_link_is_not() {
        for (method, site, mode, refused) in [
            ("GET", "same-origin", "cors", false),
            ("POST", "same-origin", "cors", false),
            ("GET", "none", "navigate", false),
            ("GET", "cross-site", "navigate", false),
            ("GET", "cross-site", "no-cors", true),
            ("GET", "same-site", "no-cors", true),
            ("POST", "cross-site", "navigate", true),
            ("POST", "same-site", "no-cors", true),
            ("DELETE", "cross-site", "cors", true),
            ("GET", "nonsense", "", true),
        ] {
            let headers =
                [("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)];
            let request = request(method, "/jobs", headers);
            let found = is_cross_site(&request, &[], &[]);
            assert_eq!(found, refused, "{method} {site} {mode}");
        }
    }

    #[test]
    fn an_origin_that_is_named_in_the_settings_may_send_requests_to_our_hosts() {
        let named = ["https://app.example".parse().unwrap()];
        for (host, origin, refused) in [
            ("localhost", "https://app.example", false),
            ("localhost", "http://app.example", true),
            ("localhost", "https://app.example.evil", true),
            ("localhost", "https://app.example:8443", true),
            ("rebound.example", "https://app.example", true),
        ] {
            let headers = [("host", host), ("origin", origin), ("sec-fetch-site", "cross-site")];
            let found = is_cross_site(&request("POST", "/jobs", headers), &[], &named);
            assert_eq!(found, refused, "{host} {origin}");
        }
        let twice = [("origin", "https://app.example"), ("origin", "https://evil.example")];
        assert!(is_cross_site(&request("POST", "/jobs", twice), &[], &named));
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_our_own_are_not() {
        for host in OURS {
            assert!(!refused(host, None), "{host}");
            assert!(!refused(host, Some(&format!("http://{host}"))), "{host}");
            assert!(refused(host, Some("http://example.org")), "{host}");
            assert!(refused(host, Some("null")), "{host}");
        }
        assert!(refused("example.org:8080", None));
        assert!(refused("example.org:8080", Some("http://example.org:8080")));
    }

    #[test]
    fn a_host_that_is_named_in_the_settings_is_ours() {
        let allowed = ["pets.example.org".to_owned()];
        for host in ["pets.example.org", "PETS.example.org:8080", "pets.example.org."] {
            assert!(is_own_host(host, &allowed), "{host}");
            assert!(!is_own_host(host, &[]), "{host}");
        }
        for host in ["example.org", "evil.pets.example.org", "pets.example.org.evil.com", "", ":80"]
        {
            assert!(!is_own_host(host, &allowed), "{host}");
        }
    }

    #[test]
    fn a_request_for_two_hosts_must_be_ours_by_both() {
        for (authority, host) in [("localhost", "example.org"), ("example.org", "localhost")] {
            let request = request("GET", &format!("http://{authority}/"), [("host", host)]);
            assert!(is_cross_site(&request, &[], &[]));
        }
    }

    #[test]
    fn a_host_that_can_not_be_read_is_nobodys() {
        let host = header::HeaderValue::from_bytes(b"local\xFFhost").unwrap();
        let mut request = request("GET", "/", []);
        request.headers_mut().insert(header::HOST, host);
        assert!(is_cross_site(&request, &[], &[]));
    }
}
