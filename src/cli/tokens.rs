//! `pawprint tokens`: creates, lists and revokes API tokens.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ExitStatus, Session,
    args::{ClientArgs, Named},
    client,
    output::age,
};
use crate::domain::{Name, access::Scope};

const HEADING: [&str; 4] = ["NAME", "SCOPES", "AGE", "LAST USED"];

/// Options of `pawprint tokens`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Tokens {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a token and print it; it is not shown again
    Create(Create),
    /// Revoke a token
    Revoke(Named),
}

#[derive(Debug, Args)]
struct Create {
    /// Name of the token, for example of the program that will use it
    name: Name,

    /// What the token may be used for; may be repeated
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE")]
    scope: Vec<Scope>,

    #[command(flatten)]
    client: ClientArgs,
}

/// The server's response, as far as it is read.
#[derive(Debug, Deserialize)]
struct Created {
    secret: String,
}

/// A token in a list.
#[derive(Debug, Deserialize)]
struct Token {
    name: String,
    scopes: Vec<String>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

impl Tokens {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Create(create)) => &create.client,
            Some(Action::Revoke(token)) => &token.client,
            None => &self.client,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        match &self.action {
            Some(Action::Create(create)) => create.run(session).await,
            Some(Action::Revoke(token)) => revoke(&token.name, session).await,
            None => list(session).await,
        }
    }
}

impl Create {
    async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let body = json!({ "name": self.name, "scopes": self.scope });
        let request = session.client.request(Method::POST, &["tokens"]).json(&body);
        let response: Value = session.client.json(request).await?;
        if session.out.is_json() {
            session.out.document(&response)?;
        } else {
            let Created { secret } = client::read(&response)?;
            session.out.note("Keep this token: it is not stored, and not shown again.");
            session.out.line(secret)?;
        }
        Ok(ExitStatus::Success)
    }
}

async fn revoke(name: &str, session: &Session) -> anyhow::Result<ExitStatus> {
    let request = session.client.request(Method::DELETE, &["tokens", name]);
    session.client.bytes(request).await?;
    if session.out.is_json() {
        session.out.document(&json!({ "revoked": name }))?;
    } else {
        session.out.line(format_args!("revoked {name}"))?;
    }
    Ok(ExitStatus::Success)
}

async fn list(session: &Session) -> anyhow::Result<ExitStatus> {
    let request = session.client.request(Method::GET, &["tokens"]);
    let response: Value = session.client.json(request).await?;
    let items = response["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    session.out.list(items, "no tokens have been created yet", &HEADING, row)?;
    Ok(ExitStatus::Success)
}

fn row(token: Token, now: Timestamp) -> Vec<String> {
    let used = token.last_used_at.map_or_else(|| "never".to_owned(), |at| age(at, now));
    vec![token.name, token.scopes.join(","), age(token.created_at, now), used]
}
