//! `pawprint models`: lists models with the one in service marked, pins one in service, compares two,
//! shows what changed when and takes it back, sets aliases and the shadow, deletes a model, reports on one,
//! and imports one from another server.

use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::BinaryBytes;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ExitStatus, Session,
    args::{ClientArgs, Named},
    client,
    comparison::Compare,
    model_history::{History, Rollback, SetAlias, now_in_service},
    output::{age, decimals},
    responses::Model,
    shadow::SetShadow,
    upload,
};
use crate::domain::Name;

const HEADING: [&str; 8] =
    ["NAME", "RECIPE", "DATASET", "VAL ACC", "TEST ACC", "SIZE", "AGE", "IN SERVICE"];

/// Options of `pawprint models`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Models {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Pin a model in service; `best` returns to automatic selection
    Use(Named),
    /// Compare two models on the same test images
    Compare(Compare),
    /// List changes of the model in service and of the aliases, newest first
    History(History),
    /// Take back the last change of the model in service, or of an alias
    Rollback(Rollback),
    /// List aliases, set one to a model, or remove one
    Alias(SetAlias),
    /// Have a model answer the requests to the model in service, unseen by clients; show what it has done
    Shadow(SetShadow),
    /// Delete a model that is not in service and has no alias
    Delete(Named),
    /// Write the report of a model: one HTML page that needs nothing else, or JSON with --json
    Report(Report),
    /// Import a model file that was downloaded from another server
    Import(Import),
}

#[derive(Debug, Args)]
struct Import {
    /// The model file (.safetensors)
    file: PathBuf,

    /// Name of the model [default: the one it has, with a number after it if that is taken]
    #[arg(long)]
    name: Option<Name>,

    #[command(flatten)]
    client: ClientArgs,
}

impl Models {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Use(model) | Action::Delete(model)) => &model.client,
            Some(Action::Compare(compare)) => &compare.client,
            Some(Action::History(history)) => &history.client,
            Some(Action::Rollback(rollback)) => &rollback.client,
            Some(Action::Alias(alias)) => &alias.client,
            Some(Action::Shadow(shadow)) => &shadow.client,
            Some(Action::Import(import)) => &import.client,
            Some(Action::Report(report)) => &report.model.client,
            None => &self.client,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        match &self.action {
            Some(Action::Use(model)) => put_in_service(&model.name, session).await,
            Some(Action::Compare(compare)) => compare.run(session).await,
            Some(Action::History(history)) => history.run(session).await,
            Some(Action::Rollback(rollback)) => rollback.run(session).await,
            Some(Action::Alias(alias)) => alias.run(session).await,
            Some(Action::Shadow(shadow)) => shadow.run(session).await,
            Some(Action::Delete(model)) => model.delete("models", session).await,
            Some(Action::Import(import)) => import.run(session).await,
            Some(Action::Report(report)) => report.run(session).await,
            None => list(session).await,
        }
    }
}

#[derive(Debug, Args)]
struct Report {
    #[command(flatten)]
    model: Named,

    /// Output file; `-` for standard output [default: NAME.html, or NAME.json]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Report {
    async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let name = &self.model.name;
        let format = if session.out.is_json() { "json" } else { "html" };
        let request = session.client.request(Method::GET, &["models", name, "report"]);
        let report = session.client.bytes(request.query(&[("format", format)])).await?;
        let out = self.out.clone().unwrap_or_else(|| format!("{name}.{format}").into());
        if out.as_os_str() == "-" {
            std::io::stdout().lock().write_all(&report)?;
        } else {
            std::fs::write(&out, &report)
                .with_context(|| format!("can't write {}", out.display()))?;
            session.out.note(format_args!("wrote {}", out.display()));
        }
        Ok(ExitStatus::Success)
    }
}

impl Import {
    async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let mut request = session.client.request_without_timeout(Method::POST, &["models"]);
        if let Some(name) = &self.name {
            request = request.query(&[("name", name.to_string())]);
        }
        let response: Value = upload::send_file(&self.file, request, session).await?;
        if session.out.is_json() {
            session.out.document(&response)?;
        } else {
            let Model { name, .. } = client::read(&response)?;
            session.out.line(format_args!("{name} is on the server"))?;
            session.out.note(format_args!("put it into service with `pawprint models use {name}`"));
        }
        Ok(ExitStatus::Success)
    }
}

async fn put_in_service(name: &str, session: &Session) -> anyhow::Result<ExitStatus> {
    let request = session.client.request(Method::PUT, &["models", "current"]);
    let response: Value = session.client.json(request.json(&json!({ "model": name }))).await?;
    now_in_service(&response, session)
}

async fn list(session: &Session) -> anyhow::Result<ExitStatus> {
    let items = session.client.list(&["models"], &[], usize::MAX).await?;
    session.out.list(&items, "no models yet", &HEADING, row)?;
    Ok(ExitStatus::Success)
}

fn row(model: Model, now: Timestamp) -> Vec<String> {
    vec![
        model.name,
        model.recipe,
        model.dataset,
        decimals(model.val_accuracy),
        decimals(model.test_accuracy),
        BinaryBytes(model.bytes).to_string(),
        age(model.created_at, now),
        if model.in_service { "yes".to_owned() } else { String::new() },
    ]
}
