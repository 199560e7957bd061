//! Options that every client command takes, and parsers of their values.

use std::path::PathBuf;

use clap::Args;
use reqwest::{Method, Url};
use serde_json::json;

use super::{ExitStatus, Session};

/// Where the server is and how to talk to it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ClientArgs {
    /// URL of the server
    #[arg(
        long,
        env = "PAWPRINT_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        value_parser = server_url
    )]
    pub(super) server: Url,

    /// API token, if the server requires one
    #[arg(long, env = "PAWPRINT_API_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) api_token: Option<String>,

    /// File whose first line is the API token
    #[arg(long, env = "PAWPRINT_API_TOKEN_FILE", value_name = "FILE")]
    pub(super) api_token_file: Option<PathBuf>,

    /// Print JSON: one document, or one per line
    #[arg(long)]
    pub(super) json: bool,
}

/// Where the data lies, for commands that work on it without a server.
#[derive(Debug, Clone, Args)]
pub(super) struct DataArgs {
    /// Data directory of the server
    #[arg(long, env = "PAWPRINT_DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub(super) data_dir: PathBuf,

    /// Write one JSON document for programs
    #[arg(long)]
    pub(super) json: bool,
}

/// One thing on the server.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// Name or id
    #[arg(value_parser = reference)]
    pub(super) name: String,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

impl Named {
    /// Deletes it from one of the server's collections.
    pub(super) async fn delete(
        &self,
        collection: &str,
        session: &Session,
    ) -> anyhow::Result<ExitStatus> {
        let request = session.client.request(Method::DELETE, &[collection, &self.name]);
        session.client.bytes(request).await?;
        if session.out.is_json() {
            session.out.document(&json!({ "deleted": self.name }))?;
        } else {
            session.out.line(format_args!("deleted {}", self.name))?;
        }
        Ok(ExitStatus::Success)
    }
}

/// An `http` or `https` URL, with a `/` added at its end so that paths can be joined to it.
fn server_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("use http://HOST:PORT or https://HOST".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("set the token with PAWPRINT_API_TOKEN, not in the URL".to_owned());
    }
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// A name or an id of something on the server, which needs no escaping in a path.
pub(super) fn reference(text: &str) -> Result<String, String> {
    let well_formed = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err("not a valid name (letters, digits, `-`, `_` or `.`) or id".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_a_path_prefix_and_nothing_after_it() {
        let url = |text| server_url(text).unwrap().to_string();
        assert_eq!(url("http://127.0.0.1:8080"), "http://127.0.0.1:8080/");
        assert_eq!(url("https://host/pawprint?x#y"), "https://host/pawprint/");
    }

    #[test]
    fn addresses_that_no_server_can_have_are_refused() {
        for text in [
            "",
            "127.0.0.1:8080",
            "localhost:8080",
            "ftp://host",
            "http://",
            "http://me:secret@host",
        ] {
            assert!(server_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_reference_cannot_leave_its_place_in_a_path() {
        for text in ["run-7", "v1.2", "0198c0de-0000-7000-8000-000000000000"] {
            assert!(reference(text).is_ok(), "{text}");
        }
        for text in ["", ".", "..", "a/b", "a?b", "-x"] {
            assert!(reference(text).is_err(), "{text}");
        }
    }
}
