//! `pawprint models history`, `rollback` and `alias`: what changed when, back to what was before, and
//! names for models.

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client,
    output::age,
    responses::Model,
};

/// Changes that are printed by default.
const SHOWN: usize = 20;

/// Options of `pawprint models history`.
#[derive(Debug, Args)]
pub(super) struct History {
    /// Only changes of this alias
    #[arg(long, value_parser = reference, value_name = "ALIAS")]
    alias: Option<String>,

    /// Maximum number of changes
    #[arg(long, value_name = "N", default_value_t = SHOWN)]
    limit: usize,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Options of `pawprint models rollback`.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// An alias instead of the model in service
    #[arg(long, value_parser = reference, value_name = "ALIAS")]
    alias: Option<String>,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Options of `pawprint models alias`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("target").args(["model", "remove"])))]
pub(super) struct SetAlias {
    /// Alias to set or to remove; without it, aliases are listed
    #[arg(value_parser = reference, requires = "target")]
    alias: Option<String>,

    /// Name, alias or id of the model that the alias is set to
    #[arg(value_parser = reference)]
    model: Option<String>,

    /// Remove the alias
    #[arg(long, requires = "alias")]
    remove: bool,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Debug, Deserialize)]
struct Entry {
    at: Timestamp,
    event: String,
    alias: Option<String>,
    from: Option<Target>,
    to: Option<Target>,
    by: Actor,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    #[serde(default)]
    pinned: bool,
}

#[derive(Debug, Deserialize)]
struct Actor {
    kind: String,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Alias {
    name: String,
    model: String,
    updated_at: Timestamp,
}

impl History {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let alias = self.alias.as_deref().map(|alias| ("alias", alias));
        let filters: Vec<_> = alias.into_iter().collect();
        let items = session.client.list(&["models", "history"], &filters, self.limit).await?;
        let heading = ["AGE", "CHANGE", "OF", "FROM", "TO", "BY"];
        session.out.list(&items, "no changes yet", &heading, |entry: Entry, now| {
            let model = |target: Option<Target>| match target {
                Some(Target { name, pinned: true }) => format!("{name} (pinned)"),
                Some(Target { name, .. }) => name,
                None => "-".to_owned(),
            };
            vec![
                age(entry.at, now),
                entry.event.replace('_', " "),
                entry.alias.unwrap_or_else(|| "model in service".to_owned()),
                model(entry.from),
                model(entry.to),
                match entry.by {
                    Actor { kind, name: Some(name) } => format!("{kind} {name}"),
                    Actor { kind, name: None } => kind,
                },
            ]
        })?;
        Ok(ExitStatus::Success)
    }
}

impl Rollback {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let Some(alias) = &self.alias else {
            let request = session.client.request(Method::POST, &["models", "rollback"]);
            let response: Value = session.client.json(request).await?;
            return now_in_service(&response, session);
        };
        let request = session.client.request(Method::POST, &["aliases", alias, "rollback"]);
        let response: Value = session.client.json(request).await?;
        if session.out.is_json() {
            session.out.document(&response)?;
            return Ok(ExitStatus::Success);
        }
        let all: Vec<Alias> = client::read(&response["items"])?;
        match all.iter().find(|it| it.name == *alias) {
            Some(set) => session.out.line(format_args!("{alias} is now {}", set.model))?,
            None => session.out.line(format_args!("removed {alias}"))?,
        }
        Ok(ExitStatus::Success)
    }
}

impl SetAlias {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let (client, out) = (&session.client, session.out);
        match (&self.alias, &self.model) {
            (Some(alias), Some(model)) => {
                let request = client.request(Method::PUT, &["aliases", alias]);
                let response: Value = client.json(request.json(&json!({ "model": model }))).await?;
                if out.is_json() {
                    out.document(&response)?;
                } else {
                    let Alias { name, model, .. } = client::read(&response)?;
                    out.line(format_args!("{name} is now {model}"))?;
                }
            }
            (Some(alias), None) => {
                client.bytes(client.request(Method::DELETE, &["aliases", alias])).await?;
                if out.is_json() {
                    out.document(&json!({ "deleted": alias }))?;
                } else {
                    out.line(format_args!("removed {alias}"))?;
                }
            }
            (None, _) => {
                let request = client.request(Method::GET, &["aliases"]);
                let response: Value = client.json(request).await?;
                let items = response["items"].as_array().cloned().unwrap_or_default();
                let heading = ["ALIAS", "MODEL", "SET"];
                out.list(&items, "no aliases yet", &heading, |it: Alias, now| {
                    vec![it.name, it.model, format!("{} ago", age(it.updated_at, now))]
                })?;
            }
        }
        Ok(ExitStatus::Success)
    }
}

/// Prints the model that is now in service.
pub(super) fn now_in_service(response: &Value, session: &Session) -> anyhow::Result<ExitStatus> {
    if session.out.is_json() {
        session.out.document(response)?;
    } else {
        let Model { name, .. } = client::read(response)?;
        session.out.line(format_args!("model {name} is now in service"))?;
    }
    Ok(ExitStatus::Success)
}
