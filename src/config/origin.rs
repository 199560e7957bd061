//! Origins of web pages, as a browser names them: `https://app.example.org`, `http://localhost:3000`.

use std::{fmt, str::FromStr};

use axum::http::{HeaderValue, uri::Authority};

/// A scheme, a host and a port if it isn't the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Why a string is not a valid [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// Every page of the Internet.
    #[error("`*` would let every web page use this server: name the origins")]
    Any,
    /// It does not begin like one.
    #[error("an origin begins with https:// or http://, such as https://app.example.org")]
    Scheme,
    /// It goes on behind the port.
    #[error("an origin ends after the host or port: use {0}")]
    Path(String),
    /// The host can't be one.
    #[error("`{0}` is not a valid host: use ASCII letters (punycode for other scripts)")]
    Host(String),
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let text = text.trim();
        if text == "*" {
            return Err(InvalidOrigin::Any);
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = match lower.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            _ => return Err(InvalidOrigin::Scheme),
        };
        if let Some((host, _)) = rest.split_once(['/', '?', '#']) {
            return Err(InvalidOrigin::Path(format!("{scheme}://{host}")));
        }
        let invalid = || InvalidOrigin::Host(rest.to_owned());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let authority: Authority = rest.parse().map_err(|_| invalid())?;
        let host = authority.host();
        if host.is_empty()
            || !rest.chars().all(is_plain)
            || (rest.len() > host.len() && authority.port_u16().is_none())
        {
            return Err(invalid());
        }
        // A browser leaves out the port of the scheme.
        Ok(Self(match (scheme, authority.port_u16()) {
            ("http", None | Some(80)) | ("https", None | Some(443)) => format!("{scheme}://{host}"),
            (_, Some(port)) => format!("{scheme}://{host}:{port}"),
            _ => return Err(invalid()),
        }))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Origin {
    /// Whether a browser's `Origin` header is this one.
    #[must_use]
    pub fn is(&self, header: &HeaderValue) -> bool {
        header.as_bytes().eq_ignore_ascii_case(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        for (text, shown) in [
            ("https://app.example.org", "https://app.example.org"),
            (" HTTPS://App.Example.org:443", "https://app.example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("https://a.example:80", "https://a.example:80"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        use InvalidOrigin::{Any, Host, Path, Scheme};
        let host = |text: &str| Host(text.to_owned());
        for (text, error) in [
            ("*", Any),
            ("", Scheme),
            ("null", Scheme),
            ("app.example.org", Scheme),
            ("ftp://a.example", Scheme),
            ("https://a.example/", Path("https://a.example".to_owned())),
            ("https://a.example/app?x", Path("https://a.example".to_owned())),
            ("https://", host("")),
            ("https://me@a.example", host("me@a.example")),
            ("https://a.example:", host("a.example:")),
            ("https://a.example:99999", host("a.example:99999")),
            ("https://*.example", host("*.example")),
            ("https://bücher.example", host("bücher.example")),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        }
    }
}
