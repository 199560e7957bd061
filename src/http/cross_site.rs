//! Requests of other sites' pages, which a browser on this machine or network sends without its user's
//! knowledge.

use axum::http::{HeaderMap, Uri, header};

/// Without a token, anything that can reach the server may use it: also a page of another site in a
/// browser on this machine, or one whose own name resolves to this address. The headers of such a
/// request show its origin.
pub(super) fn is_cross_site(uri: &Uri, headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(hosts) = hosts(uri, headers) else { return true };
    let known = hosts.iter().all(|host| is_own_host(host, allowed));
    let own = headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(_, origin)| hosts.iter().all(|host| host.eq_ignore_ascii_case(origin)))
    });
    !known || !own
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
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let uri = format!("http://{host}/jobs").parse().unwrap();
        let by_authority = is_cross_site(&uri, &headers, &[]);
        headers.insert(header::HOST, host.parse().unwrap());
        let by_host = is_cross_site(&Uri::from_static("/jobs"), &headers, &[]);
        assert_eq!(by_host, by_authority, "{host} {origin:?}");
        by_host
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
            let uri = format!("http://{authority}/").parse().unwrap();
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            assert!(is_cross_site(&uri, &headers, &[]));
        }
    }

    #[test]
    fn a_host_that_can_not_be_read_is_nobodys() {
        let host = header::HeaderValue::from_bytes(b"local\xFFhost").unwrap();
        let headers = HeaderMap::from_iter([(header::HOST, host)]);
        assert!(is_cross_site(&Uri::from_static("/"), &headers, &[]));
    }
}
